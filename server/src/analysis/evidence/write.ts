import { randomUUID } from 'node:crypto';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname, join, relative, sep } from 'node:path';
import { pictureName } from '../../preview/png';
import type { WriteReportResult } from '../../protocol';
import type { Evidence } from '.';
import { evidenceHtml } from './html';
import { evidenceJson } from './json';
import { evidenceMarkdown } from './markdown';
import type { PictureRow, Triple } from './pictures';

/**
 * Writes all three; each through a temporary file that is renamed, so a reader never sees half a report.
 * @param images folder for the pictures as PNG, which Markdown cannot inline; none when absent
 */
export async function writeEvidence(evidence: Evidence, htmlPath: string, images?: string): Promise<WriteReportResult> {
  const stem = htmlPath.replace(/\.html?$/i, '');
  const result = { html: `${stem}.html`, markdown: `${stem}.md`, json: `${stem}.json` };
  const rows = images !== undefined && 'found' in evidence.comparison ? evidence.comparison.found.pictures : [];
  const written: string[] = [];
  const links = new Map<PictureRow, Triple>();
  await mkdir(dirname(result.html), { recursive: true });
  for (const row of rows) {
    const save = async (kind: keyof Triple): Promise<string> => {
      const path = join(images ?? '', pictureName(kind, row, row.frames));
      await replaceFile(path, Buffer.from(row.full[kind], 'base64'));
      written.push(path);
      return relative(dirname(result.markdown), path).split(sep).map(encodeURIComponent).join('/');
    };
    await mkdir(images ?? '', { recursive: true });
    links.set(row, { reference: await save('reference'), quantized: await save('quantized'), difference: await save('difference') });
  }
  await replaceFile(result.html, evidenceHtml(evidence));
  await replaceFile(result.markdown, evidenceMarkdown(evidence, links));
  await replaceFile(result.json, `${JSON.stringify(evidenceJson(evidence), null, 1)}\n`);
  return images === undefined ? result : { ...result, images: written };
}

/** Through a temporary file that is renamed. */
export async function replaceFile(path: string, content: string | Uint8Array): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  await writeFile(temporary, content);
  await rename(temporary, path);
}
