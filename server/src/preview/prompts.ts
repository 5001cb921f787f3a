/** Prompt embeddings: safetensors files of the format quantscope-prompt-1, docs/prompts.md. Text encoders are larger than most transformers, so prompts are encoded once, elsewhere. */
import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { CheckpointError, openCheckpoint } from '../checkpoint';
import { readValues } from '../checkpoint/values';
import { ModelError } from '../models/builder';
import type { Given } from '../models/builder';
import type { Checkpoint, TensorInfo } from '../protocol';

const format = 'quantscope-prompt-1';
/** Published encoders give at most 512 rows. */
const maxRows = 4096;
const maxFiles = 10_000;

/** Embeddings of one text. mask: 1 keeps a row, 0 hides it. */
export interface Text { file: string; /** [rows, width] */ embeds: Given; mask: Float32Array | null; pooled: Float32Array | null }

/** What the header says of it. */
export interface TextShape { file: string; rows: number; masked: boolean }

export interface Prompt { name: string; positive: Text; /** Only where guidance asks for it. */ negative: Text | null; /** Hash of every value. */ identity: string }

/** What a model takes. encoder: the diffusers class whose `encode_prompt` makes it. refusal: why embeddings of this shape do not fit. */
export interface PromptNeeds { encoder: string; width: number; pooled: number | null; negative: boolean; refusal?: ((text: TextShape) => string | undefined) | undefined }

/**
 * @param entry of `preview.prompts`: the path of a file when it ends in .safetensors, else the text of a prompt
 * @param base folder of the config
 * @throws ModelError, CheckpointError
 */
export async function openPrompt(entry: string, base: string, needs: PromptNeeds): Promise<Prompt> {
  const { checkpoint, parts } = await findPrompt(entry, base, needs);
  const [positive, negative = null] = await Promise.all(parts.map((part) => readText(part, needs))) as [Text, Text?];
  const { metadata, path } = checkpoint;
  const hash = createHash('sha256');
  for (const values of [positive, negative].flatMap((text) => (text ? [text.embeds.data, text.mask, text.pooled] : []))) {
    hash.update(`${values?.length ?? 'none'} `).update(values ?? '');
  }
  return { name: metadata['prompt'] ?? basename(path, '.safetensors'), positive, negative, identity: hash.digest('hex') };
}

/** The embeddings of an entry by their header alone. @throws ModelError, CheckpointError as openPrompt, except for what only values tell */
export async function findPrompt(entry: string, base: string, needs: PromptNeeds, files = promptFiles, open = openCheckpoint): Promise<{ checkpoint: Checkpoint; parts: Parts[] }> {
  const checkpoint = entry.endsWith('.safetensors') ? await open(resolve(base, entry)) : find(entry, join(base, 'prompts'), needs.encoder, await files(join(base, 'prompts')));
  const made = checkpoint.metadata['encoder'];
  if (made !== undefined && made !== needs.encoder) {
    throw new ModelError(`${checkpoint.path}: made by the encoder of ${made}; this model needs that of ${needs.encoder}. ${howTo(needs.encoder)}`);
  }
  const parts = [partsOf(checkpoint, '', needs), ...(needs.negative ? [partsOf(checkpoint, 'negative_', { ...needs, pooled: null })] : [])];
  const refusal = parts.map(({ file, mask, rows }) => needs.refusal?.({ file, rows, masked: mask !== null })).find((each) => each !== undefined);
  if (refusal !== undefined) {
    throw new ModelError(refusal);
  }
  return { checkpoint, parts };
}

/** What lies in a folder of prompts. */
export interface PromptFiles { opened: Checkpoint[]; broken: string[] }

/** Texts that a model of this encoder finds there. */
export function promptTexts({ opened }: PromptFiles, encoder: string): string[] {
  return opened.filter(({ metadata }) => metadata['format'] === format && metadata['encoder'] === encoder).flatMap(({ metadata }) => metadata['prompt']?.trim() || []);
}

/** @throws ModelError when the folder cannot be read; one that is not there holds nothing */
export async function promptFiles(folder: string): Promise<PromptFiles> {
  const names = (await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') {
      return [];
    }
    throw new ModelError(`${folder} cannot be read: ${error.message}. Check the folder, or write the path of the embeddings instead of the prompt.`);
  })).filter((name) => name.endsWith('.safetensors')).sort();
  if (names.length > maxFiles) {
    throw new ModelError(`${folder} holds ${names.length} files; prompts are looked up among at most ${maxFiles}. Write the path of the embeddings instead of the prompt.`);
  }
  const opened: Checkpoint[] = [];
  const broken: string[] = [];
  for (const name of names) {
    await openCheckpoint(join(folder, name)).then((checkpoint) => opened.push(checkpoint), (error: unknown) => {
      if (!(error instanceof CheckpointError)) {
        throw error;
      }
      broken.push(error.message);
    });
  }
  return { opened, broken };
}

function find(prompt: string, folder: string, encoder: string, { opened, broken }: PromptFiles): Checkpoint {
  const known = opened.filter(({ metadata }) => metadata['format'] === format && metadata['encoder'] === encoder);
  const [match, other] = known.filter(({ metadata }) => metadata['prompt']?.trim() === prompt.trim());
  if (match && other) {
    throw new ModelError(`${basename(match.path)} and ${basename(other.path)} in ${folder} both hold "${shortened(prompt)}". Remove one, or write the path of the other instead of the prompt.`);
  }
  if (!match) {
    const there = known.map(({ metadata }) => `"${shortened(metadata['prompt'] ?? '')}"`);
    throw new ModelError([
      `There are no embeddings of "${shortened(prompt)}" for ${encoder} in ${folder}.`, howTo(encoder, prompt),
      ...(there.length > 0 ? [`Prompts that are there: ${there.slice(0, 5).join(', ')}${there.length > 5 ? ` and ${there.length - 5} more` : ''}.`] : []),
      ...(broken.length > 0 ? [`Not readable: ${broken.slice(0, 3).join(' ')}`] : []),
    ].join(' '));
  }
  return match;
}

function howTo(encoder: string, prompt?: string): string {
  return `Encode the prompt once with the script for ${encoder} in QuantScope's docs/prompts.md${prompt === undefined ? '' : ` and save the file as prompts/${fileName(prompt)} beside the config`}.`;
}

/** "A red fox, in snow" → a-red-fox-in-snow.safetensors */
export function fileName(prompt: string): string {
  const words = prompt.normalize('NFKD').toLowerCase().replace(/[^\p{L}\p{N}]+/gu, '-').slice(0, 60).replace(/^-+|-+$/g, '');
  return `${words || 'prompt'}.safetensors`;
}

/** Tensors of one text. */
interface Parts { file: string; prefix: string; rows: number; embeds: TensorInfo; mask: TensorInfo | null; pooled: TensorInfo | null }

function partsOf(checkpoint: Checkpoint, prefix: '' | 'negative_', { encoder, width, pooled }: PromptNeeds): Parts {
  const file = checkpoint.path;
  const tensor = (name: string): TensorInfo | undefined => checkpoint.tensors.find((each) => each.name === name);
  const embedsName = `${prefix}prompt_embeds`;
  const embeds = tensor(embedsName);
  if (!embeds) {
    throw new ModelError(`${file}: there is no "${embedsName}"${prefix ? ', which guidance needs. Encode with a negative prompt (an empty one will do), or turn guidance off in the preview settings' : ''}. ${howTo(encoder)}`);
  }
  const wrong = (name: string, { shape }: TensorInfo, wanted: string): ModelError => new ModelError(`${file}: "${name}" is [${shape.join(', ')}]; this model needs ${wanted}. ${howTo(encoder)}`);
  const [rows = 0, columns = 0] = unbatched(embeds.shape, 2) ?? [];
  if (rows < 1 || rows > maxRows || columns !== width) {
    throw wrong(embedsName, embeds, `[rows, ${width}] with 1 to ${maxRows} rows`);
  }
  const vector = (name: string, size: number): TensorInfo | null => {
    const found = tensor(name);
    if (found && unbatched(found.shape, 1)?.[0] !== size) {
      throw wrong(name, found, `[${size}]`);
    }
    return found ?? null;
  };
  const mask = vector(`${prefix}prompt_attention_mask`, rows);
  const pooledEmbeds = pooled === null ? null : vector('pooled_prompt_embeds', pooled);
  if (pooled !== null && !pooledEmbeds) {
    throw new ModelError(`${file}: there is no "pooled_prompt_embeds" [${pooled}], which this model takes beside the embeddings. ${howTo(encoder)}`);
  }
  return { file, prefix, rows, embeds, mask, pooled: pooledEmbeds };
}

async function readText({ file, prefix, rows, embeds, mask, pooled }: Parts, { encoder, width }: PromptNeeds): Promise<Text> {
  const maskValues = mask && await values(file, mask);
  if (maskValues && !(maskValues.every((value) => value === 0 || value === 1) && maskValues.includes(1))) {
    throw new ModelError(`${file}: "${prefix}prompt_attention_mask" must hold 1 for rows of the prompt and 0 for padding, and at least one 1. ${howTo(encoder)}`);
  }
  return { file, embeds: { shape: [rows, width], data: await values(file, embeds) }, mask: maskValues, pooled: pooled && await values(file, pooled) };
}

/** A batch of 1 is allowed. */
function unbatched(shape: readonly number[], rank: number): readonly number[] | undefined {
  return shape.length === rank ? shape : shape.length === rank + 1 && shape[0] === 1 ? shape.slice(1) : undefined;
}

async function values(file: string, tensor: TensorInfo): Promise<Float32Array> {
  const { data } = await readValues(tensor);
  const bad = data.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) {
    throw new ModelError(`${file}: "${tensor.name}" holds ${String(data[bad])} at position ${bad}. Encode the prompt again, in bfloat16 or float32: float16 overflows in T5 encoders.`);
  }
  return data;
}

function shortened(text: string): string { return text.length > 80 ? `${text.slice(0, 79)}…` : text; }
