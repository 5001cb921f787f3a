/** ggml's types by name: bits per weight with scales, and how many inputs a block has. */
export const ggmlTypes: Readonly<Record<string, readonly [bits: number, block: number]>> = {
  f32: [32, 1], f16: [16, 1], bf16: [16, 1], q4_0: [4.5, 32], q4_1: [5, 32], q5_0: [5.5, 32], q5_1: [6, 32], q8_0: [8.5, 32], iq4_nl: [4.5, 32], mxfp4: [4.25, 32],
  q2_K: [2.625, 256], q3_K: [3.4375, 256], q4_K: [4.5, 256], q5_K: [5.5, 256], q6_K: [6.5625, 256], tq1_0: [1.6875, 256], tq2_0: [2.0625, 256],
  iq1_s: [1.5625, 256], iq1_m: [1.75, 256], iq2_xxs: [2.0625, 256], iq2_xs: [2.3125, 256], iq2_s: [2.5625, 256], iq3_xxs: [3.0625, 256], iq3_s: [3.4375, 256], iq4_xs: [4.25, 256],
};

/** The name as ggml spells it, whatever the case. */
export function ggmlName(written: string): string | undefined {
  return Object.keys(ggmlTypes).find((name) => name.toLowerCase() === written.toLowerCase());
}
