/** Which widths have a Hadamard matrix over the whole of them. native/src/transform/hadamard.cpp builds it and says the same. */

/** Beyond it the product with the matrix of the odd part would cost as much as a dense rotation. */
const maxOrder = 1024;

/** The smallest K, width / K a power of two, for which a Hadamard matrix of order K can be constructed; null when there is none up to 1024. */
export function hadamardOrder(width: number): number | null {
  let order = width;
  while (order % 2 === 0 && order > 0) {
    order /= 2;
  }
  for (; order >= 1 && order <= maxOrder && width % order === 0; order *= 2) {
    if (order === 1 || (order % 4 === 0 && (isPrime(order - 1) || (order % 8 === 4 && isPrime(order / 2 - 1)) || order === 52 || order === 172))) {
      return order;
    }
  }
  return null;
}

function isPrime(n: number): boolean {
  for (let i = 2; i * i <= n; i++) {
    if (n % i === 0) {
      return false;
    }
  }
  return n >= 2;
}
