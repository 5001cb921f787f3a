import { convertToQuant, convertToQuantFormats } from '../../dialects/convertToQuant';
import { apart, json, mainClass, nearest, requireNumbers, wholeName } from './writer';
import type { RecipeClass, Writer } from './writer';

/** A default for the most layers, and expressions for the others that take no layer twice: then it does not matter which of two is the more specific. */
export const convertToQuantWriter: Writer = {
  id: convertToQuant.id, dialect: convertToQuant, says: 'float8, int8, NVFP4 and MXFP8, by expressions on names', fileName: 'layer_config.json',
  write(request) {
    requireNumbers(request.quantized, 'convert_to_quant');
    const main = request.kept[0] && request.kept[0].params > mainClass(request, 'convert_to_quant').params ? request.kept[0] : mainClass(request, 'convert_to_quant');
    const setting = (of: RecipeClass): Record<string, unknown> => (request.kept.includes(of) ? { skip: true } : { format: nearest(Object.entries(convertToQuantFormats).map(([format, [, , as]]) => ({ setting: format, recipe: as.recipe })), of, 'convert_to_quant') });
    const others = apart(request.classes.filter((of) => of !== main), request.checkpoint);
    return json({ _default: setting(main), ...Object.fromEntries(others.flatMap(({ of, globs }) => globs.map((glob) => [wholeName(glob), setting(of)]))) });
  },
};
