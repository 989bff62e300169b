# SPDX-License-Identifier: Apache-2.0
"""Times training steps in PyTorch on random batches of 16 sequences without padding, 15 % of the tokens masked: AdamW (fused),
dropout 0.1, heads on the masked positions alone. The network is the binary one as `bipft_reference.py` simulates it in
floating point (`--network binary`), or the plain full-precision BERT of transformers with the same heads (`--network bert`),
which is what one would train instead. Attention is PyTorch's fused one wherever probabilities are not binarised: in the
teacher and in BERT. Prints one JSON object: tokens per second of the fastest step, of one or two micro-batches whichever is
faster, and peak memory.

    python3 scripts/pytorch/speed.py --threads 2 --precision bfloat16 --teacher teacher.safetensors
"""
import argparse
import json
import math
import resource
import time

import torch
import torch.nn.functional as F

from bipft_reference import Config, Reference, fp_teacher, initialise

SEQUENCES = 16


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


def batch_of(c, seed, sequences, length):
    """Without padding; `masked`: the positions to predict in the flattened batch, `labels`: their tokens."""
    g = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, c.vocab_size, (sequences, length), generator=g)
    masked = (torch.rand(sequences * length, generator=g) < 0.15).nonzero()[:, 0]
    labels = ids.view(-1)[masked].clone()
    types = (torch.arange(length) >= length // 2).long().expand(sequences, length)
    return dict(input_ids=ids, token_type_ids=types, masked=masked, labels=labels,
                next_sentence_label=torch.randint(0, 2, (sequences,), generator=g))


def teacher(c, p, batch):
    """Hidden states and NSP logits of a plain BERT with fused attention, no dropout."""
    return fp_teacher(c, p, batch, F.scaled_dot_product_attention)


def heads_loss(x, pooled, batch, word, p):
    """MLM of the masked positions and NSP; `p` holds the heads' weights by name."""
    lin = lambda x, n: F.linear(x, p[n + '.weight'], p[n + '.bias'])
    n = 'cls.predictions.transform.'
    t = F.relu(lin(x.reshape(-1, x.shape[-1])[batch['masked']], n + 'dense'))
    t = F.layer_norm(t, (x.shape[-1],), p[n + 'LayerNorm.weight'], p[n + 'LayerNorm.bias'], 1e-12)
    nsp = lin(pooled, 'cls.seq_relationship')
    mlm = F.cross_entropy(F.linear(t, word, p['cls.predictions.bias']), batch['labels'])
    return mlm + F.cross_entropy(nsp, batch['next_sentence_label']), nsp


class Binary(Reference):
    """`Reference` with the loss on masked positions alone."""

    def loss(self, batch, target):
        hidden, pooled = self.encode(batch['input_ids'], torch.ones_like(batch['input_ids']), batch['token_type_ids'])
        total, nsp = heads_loss(hidden[-1], pooled, batch, self.p['bert.embeddings.word_embeddings.weight'], self.p)
        if target is None: return total
        distance = sum(F.mse_loss(a, b) for a, b in zip(hidden, target['hidden'])) / len(hidden)
        return total + distance + (-target['nsp'].softmax(-1) * nsp.log_softmax(-1)).mean()


class Bert:
    """transformers' BertModel with the heads above."""

    def __init__(self, c, parameters):
        from transformers import BertConfig, BertModel
        self.model = BertModel(BertConfig(
            vocab_size=c.vocab_size, hidden_size=c.hidden_size, num_hidden_layers=c.num_hidden_layers,
            num_attention_heads=c.num_attention_heads, intermediate_size=c.intermediate_size,
            max_position_embeddings=c.max_position_embeddings, attn_implementation='sdpa'))
        self.model.train()
        self.heads = {n: t for n, t in parameters.items() if n.startswith('cls.')}
        self.p = dict(self.model.named_parameters()) | self.heads

    def loss(self, batch, target):
        out = self.model(input_ids=batch['input_ids'], token_type_ids=batch['token_type_ids'])
        word = self.model.embeddings.word_embeddings.weight
        return heads_loss(out.last_hidden_state, out.pooler_output, batch, word, self.heads)[0]


def measure(a, c, network, weights, micro_batches):
    """Seconds of the fastest step."""
    optimizer = torch.optim.AdamW(network.p.values(), lr=1e-4, fused=True)
    batches = [batch_of(c, seed, SEQUENCES // micro_batches, a.length) for seed in range(micro_batches)]
    autocast = lambda: torch.autocast('cpu', torch.bfloat16, enabled=a.precision == 'bfloat16')
    loss_of = torch.compile(network.loss, dynamic=False) if a.compile else network.loss
    target_of = torch.compile(teacher, dynamic=False) if a.compile else teacher
    best = math.inf
    for step in range(a.steps + 1):
        start = time.perf_counter()
        for batch in batches:
            with autocast():
                target = None
                if weights:
                    with torch.no_grad(): target = target_of(c, weights, batch)
                loss = loss_of(batch, target) / len(batches)
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step > 0: best = min(best, time.perf_counter() - start)
    return best


def main():
    a = argparse.ArgumentParser(description='Time training steps in PyTorch.')
    a.add_argument('--network', choices=('binary', 'bert'), default='binary')
    a.add_argument('--hidden', type=int, default=768)
    a.add_argument('--layers', type=int, default=12)
    a.add_argument('--heads', type=int, default=12)
    a.add_argument('--intermediate', type=int, default=3072)
    a.add_argument('--length', type=int, default=128)
    a.add_argument('--threads', type=int, default=2)
    a.add_argument('--precision', choices=('float32', 'bfloat16'), default='float32')
    a.add_argument('--teacher', action='store_true', help='distil from a random full-precision BERT')
    a.add_argument('--write-teacher', metavar='PATH', help='write that BERT as safetensors and end')
    a.add_argument('--compile', action='store_true', help='with torch.compile')
    a.add_argument('--steps', type=int, default=2)
    a = a.parse_args()
    torch.set_num_threads(a.threads)
    c = Config(vocab_size=30522, hidden_size=a.hidden, num_hidden_layers=a.layers, num_attention_heads=a.heads,
               intermediate_size=a.intermediate, max_position_embeddings=512, dropout=0.1)
    if a.write_teacher:
        from safetensors.torch import save_file
        save_file(teacher_weights(c), a.write_teacher)
        return
    parameters = initialise(c, 1)
    if a.compile:  # step sizes are fitted by the first batch, outside of what is compiled
        with torch.no_grad(): Binary(c, parameters).loss(batch_of(c, 0, 2, a.length), None)
    network = Binary(c, parameters, fit_step_sizes=not a.compile) if a.network == 'binary' else Bert(c, parameters)
    weights = teacher_weights(c) if a.teacher else None
    seconds = {n: measure(a, c, network, weights, n) for n in (2, 1)}
    faster = min(seconds, key=seconds.get)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({
        'network': a.network, 'precision': a.precision, 'teacher': a.teacher, 'compiled': a.compile, 'threads': a.threads,
        'micro_batches': faster, 'step_s': round(seconds[faster], 3),
        'tokens_per_s': round(SEQUENCES * a.length / seconds[faster], 1), 'peak_rss_mib': memory,
        'torch': torch.__version__}))


if __name__ == '__main__': main()
