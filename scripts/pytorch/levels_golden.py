# SPDX-License-Identifier: Apache-2.0
"""Writes what the tests of n-bit activations compare with: the elastic quantiser of BiT (Liu et al. 2022, arXiv 2205.13016) in
PyTorch, written from its formulas, by itself and in the network of `bipft_reference`.

    python3 -m venv venv && venv/bin/pip install torch numpy safetensors
    venv/bin/python scripts/pytorch/levels_golden.py --output Tests/GoldenTests/Golden

`Levels/levels.safetensors`: for n = 1, 2, 4, 8, signed and unsigned (`s4/…`, `u4/…`), the input x and shift b, the step size that a
fit gives and the one used, the output, the gradient g that comes back, and the gradients of x, b and the step size. With one
signed bit the integers are -1 and 1.

`levels*.json` and `.safetensors`: networks, in the form of the other golden files. The seed is searched for one whose gradients
do not hang on rounding: in float32, in float64, and with every weight moved by a few units in the last place they are the same.
"""
import argparse
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from bipft_reference import Config, Reference, initialise, random_batch

CONFIG = Config(vocab_size=60, hidden_size=48, num_hidden_layers=1, num_attention_heads=4, intermediate_size=80,
                max_position_embeddings=16)
SEQUENCES, TOKENS = 2, 9
NETWORKS = {'levels2-relu': (2, 'relu'), 'levels4': (4, 'gelu'), 'levels8-relu': (8, 'relu'), 'levels1-relu': (1, 'relu')}
ADAM = {'lr': 1e-3, 'betas': [0.9, 0.999], 'eps': 1e-8, 'weight_decay': 0.01,
        'no_decay': ['*bias*', '*LayerNorm.weight*']}


def levels(bits, signed):
    """The lowest and the highest integer."""
    if signed and bits == 1: return -1, 1
    return (-2 ** (bits - 1), 2 ** (bits - 1) - 1) if signed else (0, 2 ** bits - 1)


class Elastic(torch.autograd.Function):
    """alpha * q, q the integer of the set that is nearest to x / alpha (half to even); the sign for one signed bit."""
    @staticmethod
    def forward(ctx, x, alpha, bits, signed):
        low, high = levels(bits, signed)
        alpha = alpha.clamp(min=1e-5)
        v = x / alpha
        if signed and bits == 1:
            q, inside = torch.where(x >= 0, 1.0, -1.0).to(x), x.abs() <= alpha
            slope = q
        else:
            q = torch.clamp(torch.round(v), low, high)
            inside = (v >= low) & (v <= high)
            slope = torch.where(inside, q - v, q)
        ctx.save_for_backward(slope, inside)
        ctx.high = high
        return alpha * q

    @staticmethod
    def backward(ctx, g):
        slope, inside = ctx.saved_tensors
        return g * inside, (g * slope).sum() / math.sqrt(slope.numel() * ctx.high), None, None


def fitted(x, bits, signed):
    """2 mean|x| of signed operands, 4 mean|x| of unsigned ones, over the root of the highest integer."""
    return (2 if signed else 4) * x.abs().mean() / math.sqrt(levels(bits, signed)[1])


def quantisers():
    tensors = {}
    for signed in (True, False):
        for bits in (1, 2, 4, 8):
            g = torch.Generator().manual_seed(bits + 100 * signed)
            x = torch.randn((21, 70), generator=g)
            if not signed: x = x.relu()
            b = 0.2 * torch.randn(70, generator=g)
            name = f'{"s" if signed else "u"}{bits}/'
            fit = fitted(x + b, bits, signed)
            # Smaller than fitted, so that some operands lie beyond both ends.
            alpha = (0.6 * fit).requires_grad_(True)
            x, b = x.requires_grad_(True), b.requires_grad_(True)
            y = Elastic.apply(x + b, alpha, bits, signed)
            back = torch.randn(y.shape, generator=g)
            (y * back).sum().backward()
            tensors |= {name + 'x': x, name + 'b': b, name + 'fitted': fit, name + 'alpha': alpha, name + 'y': y,
                        name + 'g': back, name + 'dx': x.grad, name + 'db': b.grad, name + 'dalpha': alpha.grad}
    return {n: t.detach().clone().contiguous() for n, t in tensors.items()}


class LevelReference(Reference):
    """The reference with n bits instead of one."""
    def __init__(self, c, p, bits, activation):
        super().__init__(c, p)
        self.bits, self.inner_signed = bits, activation == 'gelu'
        self.activation = F.gelu if activation == 'gelu' else F.relu

    def elastic(self, x, name, signed):
        alpha = self.p[name]
        if name not in self.fitted:
            with torch.no_grad(): alpha.copy_(fitted(x, self.bits, signed))
            self.fitted.add(name)
        return Elastic.apply(x, alpha, self.bits, signed)

    def sign(self, x, name):
        inner = name.endswith('output.dense.input_clip_val') and 'attention' not in name
        return self.elastic(x, name, self.inner_signed or not inner)

    def unit(self, x, name): return self.elastic(x, name, False)


def run(start, batch, bits, activation, dtype):
    torch.set_default_dtype(dtype)
    try:
        p = {n: t.detach().clone().to(dtype).requires_grad_(True) for n, t in start.items()}
        out, hidden, logits, nsp = LevelReference(CONFIG, p, bits, activation).losses(batch)
        out['total'].backward()
        return p, out, hidden, logits, nsp
    finally:
        torch.set_default_dtype(torch.float32)


def apart(a, b):
    """The largest difference of two courses' gradients, as a share of the gradient's norm."""
    worst = 0.0
    for name, t in a.items():
        norm = t.grad.double().norm().item()
        if norm > 1e-6: worst = max(worst, (t.grad.double() - b[name].grad.double()).norm().item() / norm)
    return worst


def spread(start, batch, bits, activation):
    first = run(start, batch, bits, activation, torch.float32)[0]
    worst = apart(first, run(start, batch, bits, activation, torch.float64)[0])
    for trial in range(3):
        if worst > 2e-4: break
        g = torch.Generator().manual_seed(trial)
        moved = {n: t * (1 + 2e-7 * torch.randn(t.shape, generator=g)) for n, t in start.items()}
        worst = max(worst, apart(first, run(moved, batch, bits, activation, torch.float64)[0]))
    return worst


def network(folder, name, bits, activation):
    for seed in range(1, 5000):
        start = {n: t.detach().clone() for n, t in initialise(CONFIG, seed).items()}
        batch = random_batch(CONFIG, seed, SEQUENCES, TOKENS)
        difference = spread(start, batch, bits, activation)
        if difference < 2e-4: break
    else:
        raise SystemExit(f'{name}: no seed without an operand on the edge')
    p, out, hidden, logits, nsp = run(start, batch, bits, activation, torch.float32)
    tensors = {f'param/{n}': t for n, t in start.items()} | {f'batch/{n}': t for n, t in batch.items()}
    tensors |= {f'fitted/{n}': t for n, t in p.items() if t.shape == ()}
    tensors |= {f'hidden/{i}': t for i, t in enumerate(hidden)} | {'logits': logits, 'nsp_logits': nsp}
    tensors |= {f'grad/{n}': t.grad for n, t in p.items()}
    tensors = {n: t.detach().clone().contiguous() for n, t in tensors.items()}
    norm = math.sqrt(sum(t.grad.double().square().sum().item() for t in p.values()))
    decays = lambda n: not any(pattern.strip('*') in n for pattern in ADAM['no_decay'])
    groups = [{'params': [t for n, t in p.items() if decays(n)], 'weight_decay': ADAM['weight_decay']},
              {'params': [t for n, t in p.items() if not decays(n)], 'weight_decay': 0.0}]
    torch.optim.AdamW(groups, lr=ADAM['lr'], betas=tuple(ADAM['betas']), eps=ADAM['eps']).step()
    tensors |= {f'adamw/{n}': t for n, t in p.items()}
    save_file({n: t.detach() for n, t in tensors.items()}, folder / f'{name}.safetensors')
    config = {k: v for k, v in vars(CONFIG).items() if k != 'dropout'} | {'activation_bits': bits, 'ffn_activation': activation}
    settings = {'config': config, 'seed': seed, 'spread_of_gradients': difference, 'batch': SEQUENCES, 'length': TOKENS,
                'gradient_norm': norm, 'losses': {k: v.item() for k, v in out.items()}, 'adamw': ADAM}
    (folder / f'{name}.json').write_text(json.dumps(settings, indent=1) + '\n', encoding='utf-8')
    print(f'{name}: seed {seed}, gradients {difference:.1e} apart by rounding, total {out["total"].item():.4f}')


def main():
    a = argparse.ArgumentParser(description='Write the golden cases of n-bit activations.')
    a.add_argument('--output', required=True, type=Path)
    folder = a.parse_args().output
    (folder / 'Levels').mkdir(parents=True, exist_ok=True)
    save_file(quantisers(), folder / 'Levels' / 'levels.safetensors')
    for name, (bits, activation) in NETWORKS.items(): network(folder, name, bits, activation)


if __name__ == '__main__':
    main()
