# SPDX-License-Identifier: Apache-2.0
"""Times training steps of the PyTorch reference at BERT-base size on random batches: 16 sequences of 128 tokens as 2
micro-batches, AdamW, dropout 0.1. Prints one JSON object: tokens per second of the fastest step and peak memory.

    python3 scripts/pytorch/speed.py --threads 2 --precision bfloat16 --teacher teacher.safetensors
"""
import argparse
import json
import resource
import time

import torch

from bipft_reference import Config, Reference, fp_teacher, initialise, random_batch


def teacher_weights(c):
    """A random full-precision BERT, names without the `bert.` prefix."""
    g, h, f = torch.Generator().manual_seed(2), c.hidden_size, c.intermediate_size
    p = {}

    def linear(name, o, i):
        p[name + '.weight'], p[name + '.bias'] = 0.02 * torch.randn(o, i, generator=g), torch.zeros(o)

    def norm(name): p[name + '.weight'], p[name + '.bias'] = torch.ones(h), torch.zeros(h)

    for name, rows in (('word', c.vocab_size), ('position', c.max_position_embeddings), ('token_type', 2)):
        p[f'bert.embeddings.{name}_embeddings.weight'] = 0.02 * torch.randn(rows, h, generator=g)
    norm('bert.embeddings.LayerNorm')
    for layer in range(c.num_hidden_layers):
        n = f'bert.encoder.layer.{layer}.'
        for e in ('query', 'key', 'value'): linear(n + 'attention.self.' + e, h, h)
        linear(n + 'attention.output.dense', h, h)
        norm(n + 'attention.output.LayerNorm')
        linear(n + 'intermediate.dense', f, h)
        linear(n + 'output.dense', h, f)
        norm(n + 'output.LayerNorm')
    linear('bert.pooler.dense', h, h)
    linear('cls.seq_relationship', 2, h)
    return p


def main():
    a = argparse.ArgumentParser(description='Time the PyTorch reference.')
    a.add_argument('--threads', type=int, default=2)
    a.add_argument('--precision', choices=('float32', 'bfloat16'), default='float32')
    a.add_argument('--teacher', action='store_true', help='distil from a random full-precision BERT')
    a.add_argument('--write-teacher', metavar='PATH', help='write that BERT as safetensors and end')
    a.add_argument('--steps', type=int, default=2)
    a = a.parse_args()
    torch.set_num_threads(a.threads)
    c = Config(vocab_size=30522, hidden_size=768, num_hidden_layers=12, num_attention_heads=12,
               intermediate_size=3072, max_position_embeddings=512, dropout=0.1)
    if a.write_teacher:
        from safetensors.torch import save_file
        save_file(teacher_weights(c), a.write_teacher)
        return
    parameters = initialise(c, 1)
    model = Reference(c, parameters)
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-4)
    weights = teacher_weights(c) if a.teacher else None
    batches = [random_batch(c, seed, B=8, T=128) for seed in range(2)]
    autocast = lambda: torch.autocast('cpu', torch.bfloat16, enabled=a.precision == 'bfloat16')
    best, cpu = float('inf'), float('inf')
    for step in range(a.steps + 1):
        start, cpu_start = time.perf_counter(), time.process_time()
        for batch in batches:
            with autocast():
                target = None
                if weights:
                    with torch.no_grad(): target = fp_teacher(c, weights, batch)
                loss = model.losses(batch, target)[0]['total'] / len(batches)
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step > 0:
            best = min(best, time.perf_counter() - start)
            cpu = min(cpu, time.process_time() - cpu_start)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({'precision': a.precision, 'teacher': a.teacher, 'threads': a.threads, 'step_s': round(best, 3), 'cpu_s': round(cpu, 3),
                      'tokens_per_s': round(2048 / best, 1), 'peak_rss_mib': memory, 'torch': torch.__version__}))


if __name__ == '__main__': main()
