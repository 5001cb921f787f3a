/**
 * Whether CUDA is used, and why not. Nothing runs on a device before its self-test passed in a process of its own: a driver or a kernel that crashes takes
 * that process with it, not the engine. Finding out runs in the engine's host; nothing here loads the addon.
 */
import { fork } from 'node:child_process';
import { statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { CudaInfo, EngineDevice } from '../protocol';
import type { CudaState } from './addon';

export function isEngineDevice(value: unknown): value is EngineDevice {
  return value === 'auto' || value === 'cpu' || value === 'cuda';
}

/** Jobs that a device does when there is one, and what of them stays on the processor. */
export const cudaJobs = {
  'weight diagnostics': 'errors of quantizers other than codebooks, and F64 weights',
  GPTQ: 'groups that take their scales while they are decided, shifted codes and codes without common levels',
  'forward passes': 'layers with rows or Hadamard blocks that are larger than kernels take; learned rounding',
} as const;
export type CudaJob = keyof typeof cudaJobs;

/** Names the build of the CUDA library that the engine would open (device/library.cpp), without opening it; null when there is none. Its numbers are the same on every device. */
export function cudaIdentity(addonPath: string): string | null {
  const chosen = process.env['QUANTSCOPE_CUDA_LIBRARY'];
  const found = statSync(chosen === undefined || chosen === '' ? join(dirname(addonPath), 'libquantscope_cuda.so') : chosen, { throwIfNoEntry: false });
  return found ? `cuda ${found.size}-${Math.trunc(found.mtimeMs)}` : null;
}

/** Third argument of the host that makes it run the self-test instead. */
export const selfTestArgument = 'self-test';
/** What that process sends before it ends: what is wrong, or null. */
export interface SelfTestMessage { wrong: string | null }

/** Read by the CUDA library when it opens a device: `portable` keeps to kernels that run on every device (native/src/cuda/context.cuh). */
const kernelsVariable = 'QUANTSCOPE_CUDA_KERNELS';

/** A driver starts in seconds; the tests themselves take less. */
const patience = 60_000;

export async function findCuda(state: () => CudaState, device: EngineDevice, host: string, addonPath: string): Promise<CudaInfo> {
  const none = { available: false, library: null, devices: [], device: null, jobs: [] };
  if (device === 'cpu') {
    return { ...none, reason: 'the processor was asked for' };
  }
  let known: CudaState;
  try {
    known = state();
  } catch (error) {
    return { ...none, reason: error instanceof Error ? error.message : String(error) };
  }
  const { library, devices, device: number, message } = known;
  const found = { ...none, library, devices };
  if (number === null) {
    return { ...found, reason: message };
  }
  const used = { ...found, available: true, device: number, jobs: Object.keys(cudaJobs) };
  const wrong = await selfTest(host, addonPath, number);
  if (wrong === null) {
    return { ...used, reason: '' };
  }
  // Kernels that only this generation has may be what failed: a driver may be too old for them, and the others do the same, slower.
  if (devices[number]?.computeCapability === '9.0' && process.env[kernelsVariable] !== 'portable') {
    process.env[kernelsVariable] = 'portable';
    if (await selfTest(host, addonPath, number) === null) {
      return { ...used, reason: `those of compute capability 9.0 failed their self-test: ${wrong}` };
    }
  }
  return { ...found, reason: `the self-test failed: ${wrong}` };
}

/** @returns what is wrong, or null. */
export function selfTest(host: string, addonPath: string, device: number, wait = patience): Promise<string | null> {
  return new Promise((resolve) => {
    const child = fork(host, [addonPath, selfTestArgument, String(device)], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'], execArgv: [] });
    let answer: SelfTestMessage | undefined;
    let lastWords = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => { lastWords = (lastWords + text).slice(-2000); });
    child.once('message', (message) => { answer = message as SelfTestMessage; });
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, wait);
    const end = (how: string): void => {
      clearTimeout(timer);
      const said = lastWords.trim().split('\n').at(-1) ?? '';
      resolve(answer ? answer.wrong : late ? `it did not end within ${wait / 1000} seconds` : `its process ended (${how}${said === '' ? '' : `: ${said}`})`);
    };
    child.once('error', (error) => end(error.message));
    child.once('exit', (code, signal) => {
      const how = signal ?? `exit code ${code}`;
      // What it said last may still be on its way: the channel closes behind it.
      if (child.connected) {
        child.once('disconnect', () => end(how));
      } else {
        end(how);
      }
    });
  });
}
