import { ConversionError } from './lossy';

/** The config.json of a model with another `quantization_config`; everything else stays. Texts of other kinds are replaced as a whole. @throws ConversionError when there is no object to put it into */
export function withQuantizationConfig(before: string, text: string): string {
  const added = (JSON.parse(text) as Record<string, unknown>)['quantization_config'];
  if (added === undefined) {
    return text;
  }
  let existing: unknown;
  try {
    existing = JSON.parse(before);
  } catch {
    throw new ConversionError('The config.json that is there is no JSON, so nothing can be added to it. Write to another file.');
  }
  return existing !== null && typeof existing === 'object' && !Array.isArray(existing) ? `${JSON.stringify({ ...existing, quantization_config: added }, null, 2)}\n` : text;
}
