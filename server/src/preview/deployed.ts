/** What running quantized layers on integers, as a deployed model would, comes to. */
import type { IntegerLayer } from '../engine/graph';
import type { Deployed } from '../protocol';

/** @param layers of any number of passes: a layer is counted once */
export function describeDeployed(layers: readonly IntegerLayer[], relativeMse: number): Deployed {
  const known = [...new Map(layers.map((layer) => [layer.name, layer])).values()];
  const onIntegers = known.filter(({ reason }) => reason === null);
  return {
    integerLayers: onIntegers.length,
    floatLayers: known.flatMap(({ name, reason }) => (reason === null ? [] : [{ name, reason }])),
    weightSurrogate: Math.max(0, ...onIntegers.map(({ weightSurrogate }) => weightSurrogate)),
    activationSurrogate: Math.max(0, ...onIntegers.map(({ activationSurrogate }) => activationSurrogate)),
    relativeMse,
  };
}

/** Lines for a terminal. */
export function deployedText({ integerLayers, floatLayers, weightSurrogate, activationSurrogate, relativeMse: difference }: Deployed): string {
  const byReason = new Map<string, string[]>();
  floatLayers.forEach(({ name, reason }) => byReason.set(reason, [...(byReason.get(reason) ?? []), name]));
  return [
    `As deployed: ${integerLayers} layers on integers, ${floatLayers.length} on floats. Difference to fake quantization: ${difference.toExponential(2)} of the output's energy (lower is closer).`,
    ...(weightSurrogate > 0 || activationSurrogate > 0 ? [`Codebooks run on integers near their levels: at most ${weightSurrogate.toExponential(2)} of the energy of weights and ${activationSurrogate.toExponential(2)} of activations is lost by that.`] : []),
    ...[...byReason].map(([reason, names]) => `On floats, because the layer ${reason}: ${names.join(', ')}`),
  ].join('\n');
}
