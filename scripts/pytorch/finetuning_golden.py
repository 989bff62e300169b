# SPDX-License-Identifier: Apache-2.0
"""Fine-tunes the PyTorch reference for five AdamW steps and writes what the tests compare with.

A linear classifier stands on the pooled output of the reference (`binary`, `half_binary`: the network of METHOD.md; `full`: an
ordinary BERT, pooler included), cross entropy, no dropout, constant rate, no decay. For each case the seed is searched for one
whose course does not hang on rounding: in float32, in float64, and with every weight moved by a few units in the last place it
has the same losses and comes to the same weights, so that no sign lies where two programs may see it differently.

    python3 -m venv venv && venv/bin/pip install torch numpy safetensors
    venv/bin/python scripts/pytorch/finetuning_golden.py --output Tests/GoldenTests/Golden/Finetuning
"""
import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import bipft_reference
from bipft_reference import Config, Reference, fp_encode, initialise

STEPS, CLASSES, RATE = 5, 3, 5e-4
SEQUENCES, TOKENS = 4, 12
CONFIG = Config(vocab_size=60, hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96,
                max_position_embeddings=16)
PRECISIONS = ('binary', 'half_binary', 'full')


class PlainWeight(torch.autograd.Function):
    """In place of WeightSign at half-binary precision: the weight as it is."""
    @staticmethod
    def forward(ctx, w, per_row): return w.clone()

    @staticmethod
    def backward(ctx, g): return g, None


def is_full(name):
    """Whether a full-precision BERT has the parameter."""
    binarisers = ('.move.bias', '.input_clip_val', '.clip_', '.q_p.', '.k_p.', '.q_m.', '.k_m.', '.v_p.')
    return not any(b in name for b in binarisers) and 'pooler.LayerNorm' not in name


def parameters(precision, seed):
    p = {n: t.detach() for n, t in initialise(CONFIG, seed).items() if not n.startswith('cls.')}
    if precision == 'full': p = {n: t for n, t in p.items() if is_full(n)}
    g = torch.Generator().manual_seed(seed + 1)
    p['classifier.weight'] = 0.2 * torch.randn((CLASSES, CONFIG.hidden_size), generator=g)
    p['classifier.bias'] = 0.05 * torch.randn((CLASSES,), generator=g)
    return p


def batches(seed):
    result = []
    for step in range(STEPS):
        b = bipft_reference.random_batch(CONFIG, 1000 * seed + step, SEQUENCES, TOKENS)
        g = torch.Generator().manual_seed(1000 * seed + step)
        result.append({n: b[n] for n in ('input_ids', 'attention_mask', 'token_type_ids')}
                      | {'labels': torch.randint(0, CLASSES, (SEQUENCES,), generator=g)})
    return result


def train(precision, start, data, dtype):
    """The losses before each update, and the parameters after the last."""
    p = {n: t.clone().to(dtype).requires_grad_(True) for n, t in start.items()}
    model = Reference(CONFIG, p)
    optimizer = torch.optim.AdamW(p.values(), lr=RATE, betas=(0.9, 0.999), eps=1e-8, weight_decay=0)
    original = bipft_reference.WeightSign
    if precision == 'half_binary': bipft_reference.WeightSign = PlainWeight
    torch.set_default_dtype(dtype)
    losses = []
    try:
        for batch in data:
            if precision == 'full':
                _, pooled = fp_encode(CONFIG, p, batch)
            else:
                _, pooled = model.encode(batch['input_ids'], batch['attention_mask'], batch['token_type_ids'])
            loss = F.cross_entropy(F.linear(pooled, p['classifier.weight'], p['classifier.bias']), batch['labels'])
            losses.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    finally:
        bipft_reference.WeightSign = original
        torch.set_default_dtype(torch.float32)
    return losses, {n: t.detach().to(torch.float32) for n, t in p.items()}


def spread(precision, start, data):
    """How far courses that differ by rounding alone lie apart: their losses, and their weights in parts of the way that they went.

    Keys' additions that softmax does not see have no gradient but rounding; their ways are not compared.
    """
    courses = [train(precision, start, data, torch.float32), train(precision, start, data, torch.float64)]
    for trial in range(4):
        g = torch.Generator().manual_seed(trial)
        moved = {n: t * (1 + 3e-7 * torch.randn(t.shape, generator=g)) for n, t in start.items()}
        courses.append(train(precision, moved, data, torch.float64))
    losses, end = courses[0]
    unseen = ('.k_m.bias', '.k_p.bias') + (('.key.bias',) if precision == 'full' else ())
    ways = {n: (t - start[n]).norm() for n, t in end.items() if not n.endswith(unseen)}
    return (max(abs(a - b) for course, _ in courses for a, b in zip(losses, course)),
            max(((other[n] - end[n]).norm() / way).item() for _, other in courses for n, way in ways.items()))


def main():
    a = argparse.ArgumentParser(description='Write the golden cases of fine-tuning.')
    a.add_argument('--output', required=True, type=Path)
    folder = a.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    for precision in PRECISIONS:
        for seed in range(1, 2000):
            start, data = parameters(precision, seed), batches(seed)
            apart, weights_apart = spread(precision, start, data)
            if apart < 1e-5 and weights_apart < 3e-3: break
        else:
            raise SystemExit(f'{precision}: no seed without a sign on the edge')
        losses, end = train(precision, start, data, torch.float32)
        tensors = {f'param/{n}': t for n, t in start.items()} | {f'final/{n}': t for n, t in end.items()}
        for step, batch in enumerate(data):
            tensors |= {f'batch/{step}/{n}': t.contiguous() for n, t in batch.items()}
        save_file(tensors, folder / f'{precision}.safetensors')
        settings = {'config': {k: v for k, v in vars(CONFIG).items() if k != 'dropout'}, 'precision': precision,
                    'classes': CLASSES, 'batch': SEQUENCES, 'length': TOKENS, 'learning_rate': RATE, 'seed': seed,
                    'spread_of_losses': apart, 'spread_of_weights': weights_apart, 'losses': losses}
        (folder / f'{precision}.json').write_text(json.dumps(settings, indent=1) + '\n', encoding='utf-8')
        print(f'{precision}: seed {seed}, losses {losses}, {apart:.1e} apart by rounding, weights {weights_apart:.1e}')


if __name__ == '__main__':
    main()
