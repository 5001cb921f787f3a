/** Known traps that no file of a tool shows, and why; docs/dialects.md lists them, so that a clean lint is not taken for more than it is. */
export interface UnseenTrap { id: string; tool: string; trap: string; why: string }

export const unseenTraps: readonly UnseenTrap[] = [
  { id: 'exporters', tool: 'AutoRound\'s exporter, Intel Neural Compressor, AIMET, vLLM-Omni, SGLang-diffusion', trap: 'Schemes such as `W4A16` or `GGUF:Q4_K_M`, fuzzy names in `layer_config`.', why: 'They are arguments of Python functions. Of what AutoRound writes into `config.json` everything is read, and `layer_config` there gets `autoround/exporter-list`.' },
];
