import { existsSync } from 'node:fs';
import { release } from 'node:os';
import { describeCuda } from '../engine/client';
import { cudaJobs } from '../engine/cuda';
import { addonPath, userCacheFolder } from '../paths';
import type { Command } from './command';

export const doctor: Command = {
  name: 'doctor',
  usage: '',
  summary: 'What is installed, which processor level and device are used and why.',
  async run(context) {
    const addon = addonPath();
    const engine = await context.engine.info().catch((error: Error) => ({ error: error.message }));
    const facts = { node: process.version, platform: `${process.platform}-${process.arch} ${release()}`, addon, addonPresent: existsSync(addon), cache: userCacheFolder(), engine };
    context.print(facts, () => [
      `Node.js      ${facts.node} on ${facts.platform}`,
      `Addon        ${addon}${facts.addonPresent ? '' : ' (missing: run npm start, or npm test, to build it)'}`,
      ...('error' in engine ? [`Engine       cannot start: ${engine.error}`] : [
        `Engine       version ${engine.version}, ${engine.threads} threads`,
        `Processor    ${engine.cpuLevel} in use; supported: ${engine.supportedLevels.join(', ')}`,
        `CUDA         ${describeCuda(engine.cuda).replace(/^CUDA (is )?/, '')}`,
        ...engine.cuda.jobs.map((job) => `             ${job}: all but ${cudaJobs[job as keyof typeof cudaJobs]}`),
        ...(engine.cuda.library === null ? [] : [`             library ${engine.cuda.library}`]),
        ...engine.cuda.devices.map(({ name, computeCapability, memoryBytes, reason }, number) =>
          `             device ${number}: ${name}, compute capability ${computeCapability}, ${(memoryBytes / 2 ** 30).toFixed(1)} GiB${reason === null ? '' : `; not used: ${reason}`}`),
      ]),
      `Cache        ${facts.cache}`,
    ].join('\n'));
    return 'error' in engine ? 1 : 0;
  },
};
