/** `quantscope <command>`: exit 0 success, 1 findings of severity error, 2 bad usage or bad input, 130 cancelled. */
import { AllocationError } from '../analysis/allocate/errors';
import { CheckpointError } from '../checkpoint';
import { EngineError } from '../engine/client';
import { ModelError } from '../models/builder';
import { SamplerError } from '../samplers';
import { allocate } from './allocate';
import { analyze } from './analyze';
import { capture } from './capture';
import { parseCommandLine, UsageError } from './command';
import type { Command, CommandContext } from './command';
import { ConversionError } from '../config/convert/lossy';
import { doctor } from './doctor';
import { exportCommand } from './export';
import { decode, forward } from './forward';
import { importCommand } from './import';
import { inspect } from './inspect';
import { lint } from './lint';
import { lsp } from './lsp';
import { plan } from './plan';
import { preview } from './preview';
import { quantize } from './quantize';
import { report } from './report';
import { sensitivity } from './sensitivity';
import { stats } from './stats';

const commands: readonly Command[] = [inspect, stats, plan, lint, analyze, allocate, report, forward, decode, preview, capture, sensitivity, quantize, exportCommand, importCommand, lsp, doctor];

function help(): string {
  return ['Usage: quantscope <command> [--json] [--quiet] [--verbose] [--threads N] [--device auto|cpu|cuda] [--cache folder|none]', '',
    ...commands.map((command) => `  ${`${command.name} ${command.usage}`.padEnd(52)}${command.summary}`)].join('\n');
}

async function main([name, ...args]: string[]): Promise<number> {
  let context: CommandContext | undefined;
  try {
    if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
      process.stdout.write(`${help()}\n`);
      return name === undefined ? 2 : 0;
    }
    const command = commands.find((candidate) => candidate.name === name);
    if (!command) {
      throw new UsageError(`There is no command "${name}". Known: ${commands.map((each) => each.name).join(', ')}.`);
    }
    context = parseCommandLine(command, args);
    if (context.values['help'] === true) {
      process.stdout.write(`Usage: quantscope ${command.name} ${command.usage}\n${command.summary}\n${command.details?.() ?? ''}`);
      return 0;
    }
    const { cancel } = context;
    let asked = 0;
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        // One Ctrl-C may arrive twice (terminal and parent); a second one a while later means: now.
        if (asked > 0 && performance.now() - asked > 500) {
          process.exit(130);
        }
        asked ||= performance.now();
        cancel.cancel();
      });
    }
    if (command !== doctor) { // which is there to say what is missing
      await context.requireDevice();
    }
    return await command.run(context);
  } catch (error) {
    if (error instanceof EngineError && error.code === 'CANCELLED') {
      context?.note('Cancelled.');
      return 130;
    }
    if ([UsageError, AllocationError, CheckpointError, ConversionError, ModelError, SamplerError].some((kind) => error instanceof kind)) {
      process.stderr.write(`quantscope: ${(error as Error).message}\n`);
      return 2;
    }
    process.stderr.write(`quantscope: ${error instanceof EngineError ? error.message : error instanceof Error ? error.stack ?? error.message : String(error)}\n`);
    return 2;
  } finally {
    await context?.dispose();
  }
}

// A reader that has seen enough (`| head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 2));
void main(process.argv.slice(2)).then((code) => { process.exitCode = code; });
