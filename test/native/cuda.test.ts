/** The CUDA library and the script that tests it on a device, as far as a machine without one can: both are built and run here. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { temporaryFolders } from '../fixtures/folder';

const root = resolve(__dirname, '../..');
const script = join(root, 'native/test/gpu.sh');
const architectures = [80, 86, 89, 90, 120];
/** Code of 9.0 does not run on 10.x and 11.x, and PTX not on anything older than what it is for. */
const forward = [90, 120];
const nvcc = ['nvcc', '/usr/local/cuda/bin/nvcc'].find((program) => spawnSync(program, ['--version']).status === 0);

interface Code { kind: 'ptx' | 'cubin'; architecture: number }

/** What is in an nvcc library's fat binaries: containers that begin with a magic number, entries with kind, size and architecture. */
function codesIn(path: string): Code[] {
  const bytes = readFileSync(path);
  const magic = Buffer.from([0x50, 0xed, 0x55, 0xba, 1, 0]);
  const codes: Code[] = [];
  for (let at = bytes.indexOf(magic); at >= 0; at = bytes.indexOf(magic, at + 1)) {
    const end = at + bytes.readUInt16LE(at + 6) + Number(bytes.readBigUInt64LE(at + 8));
    for (let entry = at + bytes.readUInt16LE(at + 6); entry + 64 <= Math.min(end, bytes.length);) {
      codes.push({ kind: bytes.readUInt16LE(entry) === 1 ? 'ptx' : 'cubin', architecture: bytes.readUInt32LE(entry + 28) });
      entry += bytes.readUInt32LE(entry + 4) + Number(bytes.readBigUInt64LE(entry + 8));
    }
  }
  return codes;
}

describe('the CUDA library', function () {
  this.timeout(900_000);
  const folder = temporaryFolders();

  it('is built for every architecture, needs no CUDA to be opened, and shows one symbol', () => {
    if (nvcc === undefined) {
      process.stdout.write('      nvcc is not on this machine: only the emulated library was compiled, for the tests of its kernels\n');
      assert.match(execFileSync('nm', ['-D', '--defined-only', join(root, 'native/build/libquantscope_cuda_emulated.so')], { encoding: 'utf8' }), /quantscope_cuda_api/);
      return;
    }
    const build = join(root, 'native/build-cuda');
    execFileSync('cmake', ['-S', join(root, 'native'), '-B', build, '-G', 'Ninja', '-DQUANTSCOPE_CUDA=ON', '-DQUANTSCOPE_ADDON=OFF'], { stdio: 'pipe' });
    execFileSync('cmake', ['--build', build, '--target', 'quantscope_cuda', '--parallel', String(availableParallelism())], { stdio: 'pipe' });
    const library = join(build, 'libquantscope_cuda.so');

    const dynamic = execFileSync('readelf', ['-d', library], { encoding: 'utf8' });
    const needed = [...dynamic.matchAll(/\(NEEDED\).*\[(.*?)\]/g)].map((match) => match[1] ?? '');
    assert.deepEqual(needed.filter((name) => !/^(libc|libm|libpthread|libdl|librt|ld-linux.*)\.so/.test(name)), []);
    const symbols = execFileSync('nm', ['-D', '--defined-only', library], { encoding: 'utf8' }).trim().split('\n').map((line) => line.split(' ').at(-1));
    assert.deepEqual(symbols, ['quantscope_cuda_api']);

    const codes = codesIn(library);
    assert.deepEqual([...new Set(codes.filter(({ kind }) => kind === 'cubin').map(({ architecture }) => architecture))].sort((a, b) => a - b), architectures);
    const ofPtx = codes.filter(({ kind }) => kind === 'ptx').map(({ architecture }) => architecture);
    assert.deepEqual([...new Set(ofPtx)].sort((a, b) => a - b), forward);
    // As many files of kernels for each generation, and those that 9.0 has for itself: none was left out for one of them.
    const own = /^set\(CUDA_HOPPER (.*)\)$/m.exec(readFileSync(join(root, 'native/src/cuda/sources.cmake'), 'utf8'))?.[1]?.split(' ').length ?? 0;
    const counts = architectures.map((wanted) => codes.filter(({ kind, architecture }) => kind === 'cubin' && architecture === wanted).length - (wanted === 90 ? own : 0));
    assert.ok(own > 0 && Math.min(...counts) >= 1 && counts.slice(0, -1).every((count) => count === counts[0]), counts.join(' '));
  });

  it('has a script that runs its tests and benchmarks, tried on the emulator', () => {
    // The native tests run under every order.
    const env = { ...process.env, BUILD: join(root, 'native/build-gpu-emulated'), LIBRARY: join(root, 'native/build/libquantscope_cuda_emulated.so'), ORDERS: 'backward' };
    const { status, stdout, stderr } = spawnSync('sh', [script, '--emulate'], { encoding: 'utf8', env });
    assert.equal(status, 0, `${stdout}\n${stderr}`);
    assert.match(stdout, /^tests, backward +ok +\d+ passed, 0 failed$/m);
    assert.match(stdout, /^benchmarks +ok/m);
    assert.match(stdout, /^all +ok/m);
  });

  it('has a script that says when there is no GPU', () => {
    const place = folder({ 'nvidia-smi': '#!/bin/sh\necho No devices were found\nexit 6\n' });
    chmodSync(join(place, 'nvidia-smi'), 0o755);
    const { status, stderr } = spawnSync('sh', [script], { encoding: 'utf8', env: { ...process.env, PATH: `${place}:${process.env['PATH'] ?? ''}`, BUILD: join(place, 'build') } });
    assert.equal(status, 2);
    assert.match(stderr, /there is no GPU on this machine .*--emulate/);
  });
});
