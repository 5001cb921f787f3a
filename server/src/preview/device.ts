/** Where a model ran: what the calls of one job say, and in words. */
import type { Engine } from '../engine/client';
import { EngineError } from '../engine/client';
import type { DeviceUse, RunRequest } from '../engine/graph';
import { forwardDevice } from '../models/forward';
import type { PreviewDevice } from '../protocol';
import type { PredictOptions } from './pipelines';

export type Element = NonNullable<RunRequest['device']>;

/** Names a device, or '' for the processor, and the type of activations there: what is computed so is kept under it. */
export function identityOn(device: string, element: Element = 'bfloat16'): string { return device === '' || element === 'bfloat16' ? device : `${device} ${element}`; }

/** What may have been kept before, in the order of preference. Starts no engine, see Engine.devices. */
export function identitiesOn(engine: Engine, element?: Element): string[] { return engine.devices('forward passes').map((device) => identityOn(device, element)); }

/** Of a job whose calls run on the device that the engine uses, or all on the processor. */
export class JobDevice {
  private used: PreviewDevice | null = null;

  private constructor(private readonly device: string, private readonly element: Element) {}

  /** Starts the engine. */
  static async of(engine: Engine, element: Element = 'bfloat16'): Promise<JobDevice> { return new JobDevice(await forwardDevice(engine), element); }

  get identity(): string { return identityOn(this.device, this.element); }
  /** For calls that are to run there. */
  get options(): Pick<PredictOptions, 'device' | 'onDevice'> { return this.device === '' ? {} : { device: this.element, onDevice: (use) => this.add(use) }; }
  /** What has been said so far; null for the processor. */
  get use(): PreviewDevice | null { return this.used; }

  /** @throws EngineError when a call ran somewhere else: numbers of two kinds of arithmetic may not be mixed */
  private add(use: DeviceUse | null): void {
    if (!use || (this.used && this.used.name !== use.name)) {
      throw new EngineError('DEVICE', 'The engine lost its device in the middle of this job. Run it again.');
    }
    const known = this.used?.processor ?? [];
    this.used = { name: use.name, processor: [...known, ...use.processor.filter(({ name }) => known.every((other) => other.name !== name))] };
  }
}

/** "NVIDIA H200, but blocks.0.ff and 3 more on the processor: blocks.0.ff has inputs that are prepared on the processor: small floats" */
export function deviceText({ name, processor: [first, ...more] }: PreviewDevice): string {
  return first ? `${name}, but ${first.name}${more.length > 0 ? ` and ${more.length} more` : ''} on the processor: ${first.name} ${first.reason}` : name;
}

/** A sentence for results of models that ran there. */
export function ranOn(device: PreviewDevice): string { return `The model ran on ${deviceText(device)}. Activations are bfloat16 there.`; }
