// Samplers (Sec. 4.2), as in src/ucdir/diffusion/samplers.py: Eq. 1 backwards, but for the last step.
//
// The last level is 1, where every one of them gives the residual that is predicted at the level before. So a sampler
// here goes only as far as that level, and the last forward pass can be written to the result patch by patch.

/** (noisy residual x, level √γ) -> the residual predicted from it. */
export type Denoise = (x: Float32Array, level: number) => Promise<Float32Array>;

interface Steps {
  denoise: Denoise;
  /** The noisy residual at the first level. */
  x: Float32Array;
  /** √γ of each step, rising; the last one is 1. */
  levels: readonly number[];
  /** Step -> ε ~ N(0, I) like x. */
  noise: (step: number) => Float32Array;
  /** Share of the ancestral noise. */
  eta: number;
}

/** Steps -> the noisy residual at the last level but one. */
type Sampler = (steps: Steps) => Promise<Float32Array>;

const std = (level: number): number => Math.sqrt(Math.max(0, 1 - level ** 2));
const sigmaOf = (level: number): number => std(level) / level;

/** a·x + b·y + c·z */
function weighted(
  a: number, x: Float32Array, b: number, y: Float32Array, c = 0, z: Float32Array = y,
): Float32Array {
  return x.map((value, i) => a * value + b * y[i]! + c * z[i]!);
}

const ddim: Sampler = async ({ denoise, x, levels, noise, eta }) => {
  for (let step = 0; step < levels.length - 2; step++) {
    const [level, following] = [levels[step]!, levels[step + 1]!];
    const residual = await denoise(x, level);
    const sigma = (eta * std(following) * std(level / following)) / std(level);
    const rest = Math.sqrt(Math.max(0, 1 - following ** 2 - sigma ** 2)) / std(level);
    x = weighted(following - rest * level, residual, rest, x);
    if (sigma > 0) x = weighted(1, x, sigma, noise(step + 1));
  }
  return x;
};

/** Of the probability-flow ODE, in x/√γ with σ = √(1-γ)/√γ. */
const euler: Sampler = async ({ denoise, x, levels }) => {
  for (let step = 0; step < levels.length - 2; step++) {
    const [level, following] = [levels[step]!, levels[step + 1]!];
    const ratio = sigmaOf(following) / sigmaOf(level);
    x = weighted((following * ratio) / level, x, following * (1 - ratio), await denoise(x, level));
  }
  return x;
};

const heun: Sampler = async ({ denoise, x, levels }) => {
  for (let step = 0; step < levels.length - 2; step++) {
    const [level, following] = [levels[step]!, levels[step + 1]!];
    const [sigma, next] = [sigmaOf(level), sigmaOf(following)];
    const half = (next - sigma) / 2;
    const d = weighted(1 / level / sigma, x, -1 / sigma, await denoise(x, level));
    const ahead = weighted(following / level, x, 2 * half * following, d);
    const dAhead = weighted(1 / following / next, ahead, -1 / next, await denoise(ahead, following));
    x = weighted(following / level, x, half * following, d, half * following, dAhead);
  }
  return x;
};

/** DPM-Solver++(2M) (Lu et al. 2022), Algorithm 2. */
const dpmSolver: Sampler = async ({ denoise, x, levels }) => {
  let previous: Float32Array | null = null;
  for (let step = 0; step < levels.length - 2; step++) {
    const [level, following] = [levels[step]!, levels[step + 1]!];
    const [sigma, next] = [sigmaOf(level), sigmaOf(following)];
    const residual = await denoise(x, level);
    const halved = previous ? Math.log(sigma / next) / (2 * Math.log(sigmaOf(levels[step - 1]!) / sigma)) : 0;
    const share = following * (1 - next / sigma);
    x = weighted((following * next) / sigma / level, x, share * (1 + halved), residual, -share * halved, previous ?? residual);
    previous = residual;
  }
  return x;
};

export const SAMPLERS: Readonly<Record<string, Sampler>> = {
  ddpm: ddim,
  ddim,
  euler,
  heun,
  'dpm_solver++': dpmSolver,
};
