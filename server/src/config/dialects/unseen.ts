/** Known traps that no file of a tool shows, and why; docs/dialects.md lists them, so that a clean lint is not taken for more than it is. */
export interface UnseenTrap { id: string; tool: string; trap: string; why: string }

export const unseenTraps: readonly UnseenTrap[] = [
  { id: 'versions', tool: 'all tools', trap: 'Versions that do not go together, where the project does not say them.', why: 'Read are, in the nearest folder upwards that says something and no further than the repository: what is installed in `.venv`, `venv` or `env`, lock files of uv, Poetry and PDM, `requirements*.txt` with `constraints*.txt`, and `pyproject.toml`. Conda\'s environments and other interpreters lie elsewhere. A trap is reported when every version that is allowed falls into it.' },
  { id: 'moved-imports', tool: 'torchao', trap: 'Import paths that moved in 0.17: diffusers up to 0.40 says in the log that it cannot import some tensors of torchao.', why: 'It stops pickles of tensors of `UIntXWeightOnlyConfig` alone, a class that went with 0.17 too: `torchao/config-class` says so.' },
  { id: 'deepcompressor-run', tool: 'deepcompressor', trap: 'Out of memory on a small GPU; days of run time with other settings than those of the presets.', why: 'Memory and speed are the machine\'s. What newer versions of diffusers add gets `deepcompressor/diffusers`, the slow preset `deepcompressor/slow`.' },
  { id: 'nunchaku-load', tool: 'nunchaku', trap: '"integer overflow" while loading; warnings about parameters that were not loaded.', why: 'No report says from which version of a loader to which. A diffusers that is too old for nunchaku gets `svdq/diffusers`.' },
  { id: 'city96-reshape', tool: 'city96\'s converter', trap: 'Tensors of SD1 and SDXL are reshaped to 256 columns.', why: 'U-Nets are not read here.' },
  { id: 'exporters', tool: 'AutoRound\'s exporter, Intel Neural Compressor, AIMET, vLLM-Omni, SGLang-diffusion', trap: 'Schemes such as `W4A16` or `GGUF:Q4_K_M`, fuzzy names in `layer_config`.', why: 'They are arguments of Python functions. Of what AutoRound writes into `config.json` everything is read, and `layer_config` there gets `autoround/exporter-list`.' },
];
