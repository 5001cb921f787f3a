import { fqnToConfig } from '../../dialects/fqnToConfig';
import { regexOf } from '../../patterns/languages';
import { torchaoRecipe } from '../../dialects/torchao';
import { torchaoConfigs } from './torchaoConfigs';
import { apart, json, nearest, requireNumbers } from './writer';
import type { Writer } from './writer';

/** One config for each class, by expressions that take no layer of another: whether an expression is compared with modules or parameters decides its rank. What is not named is left alone. */
export const fqnToConfigWriter: Writer = {
  id: fqnToConfig.id, dialect: fqnToConfig, says: 'a config of torchao (int1–8, float8, NVFP4, MX) for names and expressions', fileName: 'fqn_to_config.json',
  write({ quantized, checkpoint }) {
    requireNumbers(quantized, 'torchao');
    const entries = apart(quantized, checkpoint).flatMap(({ of, globs }) => {
      const config = nearest(torchaoConfigs(of.recipe).map((setting) => ({ setting, recipe: torchaoRecipe(setting) })), of, 'torchao');
      return globs.map((glob) => [glob.includes('*') ? `re:${regexOf(glob)}` : glob, config] as const);
    });
    return json({ _type: 'FqnToConfig', _version: 1, _data: { fqn_to_config: Object.fromEntries(entries) } });
  },
};
