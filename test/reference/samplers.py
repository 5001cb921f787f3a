"""Trajectories of the numpy samplers on random model outputs, and torch-compatible noise. JSON on stdout."""
import json
import sys

import numpy as np

import minisched
from torch_randn import torch_randn

samplers = {
    "ddim": lambda n: minisched.DDIM(n),
    "ddim-offset": lambda n: minisched.DDIM(n, offset=1),
    "dpm": lambda n: minisched.DPMpp2M(n),
    "flow-static": lambda n: minisched.FlowEuler(n, shift=3.0),
    "flow-dynamic": lambda n: minisched.FlowEuler(n, mu=minisched.flux_mu(1024)),
    "unipc": lambda n: minisched.UniPC(n, shift=3.0),
    "cog-2b": lambda n: minisched.CogDDIM(n, snr=3.0),
    "cog-5b": lambda n: minisched.CogDDIM(n, snr=1.0),
}
random = np.random.default_rng(7)
runs = []
for name, make in samplers.items():
    for steps in (1, 2, 5, 12):
        sampler = make(steps)
        x = random.standard_normal(24).astype(np.float32)
        run = {"sampler": name, "steps": steps, "timesteps": [float(t) for t in sampler.timesteps], "start": x.tolist(), "outputs": [], "samples": []}
        for i in range(steps):
            output = (0.5 * x + 0.5 * random.standard_normal(24)).astype(np.float32)
            x = np.asarray(sampler.step(output, i, x), dtype=np.float32)
            run["outputs"].append(output.tolist())
            run["samples"].append(x.tolist())
        runs.append(run)
noise = [{"seed": seed, "count": count, "values": torch_randn((count,), seed).tolist()} for seed, count in ((0, 16), (0, 1000), (42, 37), (123456789, 768))]
json.dump({"runs": runs, "noise": noise}, sys.stdout)
