# SPDX-License-Identifier: Apache-2.0
"""Trains the PyTorch reference as a finished bipft run trained, and compares the held-out curves.

Same initial weights and step sizes (a bipft run of no steps), same batches in the same micro-batches (`bipft schedule`),
same learning rates (the run's metrics.jsonl), AdamW, weight decay and clipping. Only dropout masks and the rounding of
float32 differ. Prints step | bipft | PyTorch | PyTorch / bipft for each evaluation, and exits with 1 if the last pair
differs by more than --tolerance.

    python3 -m venv venv && venv/bin/pip install torch numpy safetensors pyyaml
    venv/bin/python scripts/pytorch/compare_with_pytorch.py --config configs/demo.yaml --run runs/demo
"""
import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
import yaml
from safetensors.torch import load_file

from bipft_reference import Config, Reference, parameter_shapes

IGNORED = -100  # the label of a token that is not to be predicted


def arguments():
    p = argparse.ArgumentParser(description='Compare a finished bipft run with the PyTorch reference.')
    p.add_argument('--config', required=True, help='the configuration of the run')
    p.add_argument('--run', required=True, type=Path, help='the run folder, with metrics.jsonl')
    p.add_argument('--bipft', default='.build/release/bipft', help='path of the program (default: %(default)s)')
    p.add_argument('--pretrain', default='.build/release/bipft-pretrain',
                   help='path of the program (default: %(default)s)')
    p.add_argument('--steps', type=int, help='compare this many steps only (default: all of the run)')
    p.add_argument('--tolerance', type=float, default=0.02, help='relative, of the last pair (default: %(default)s)')
    p.add_argument('--threads', type=int, help="PyTorch's threads (default: its own choice)")
    return p.parse_args()


def fail(message):
    sys.exit(f'error: {message}')


def read_metrics(path):
    """Training and evaluation records by step; the last one of a step counts (a resumed run may repeat steps)."""
    train, evaluation = {}, {}
    try:
        lines = path.read_text(encoding='utf-8').splitlines()
    except OSError as e:
        fail(f'{path}: {e.strerror}; --run names the folder of a finished run')
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as e:
            fail(f'{path}, line {number}: {e}')
        {'train': train, 'eval': evaluation}.get(record['kind'], {})[record['step']] = record
    if not train or not evaluation:
        fail(f'{path}: {len(train)} training and {len(evaluation)} evaluation records; both are needed')
    return train, evaluation


def setting(config, section, key):
    try:
        return config[section][key]
    except (KeyError, TypeError):
        fail(f'the configuration has no {section}.{key}')


def initial_weights(pretrain, config_path):
    """Latent weights and fitted step sizes before the first update, as bipft makes them."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / 'run'
        command = [pretrain, '--config', config_path, '--set', 'training.steps=0', '--run-dir', str(run)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        path = run / 'checkpoints' / 'step-00000000' / 'model.safetensors'
        if done.returncode != 0 or not path.exists():
            fail(f'{" ".join(command)} ended with {done.returncode} and wrote '
                 f'{"its" if path.exists() else "no"} checkpoint: {done.stdout.strip()[-2000:]}')
        return {name: tensor.float() for name, tensor in load_file(path).items()}


def reference_model(config, weights):
    model = config.get('model') or {}
    if (model.get('activation_bits', 1), model.get('ffn_activation', 'gelu')) != (1, 'gelu'):
        fail('model.activation_bits and model.ffn_activation: the reference has 1 and gelu alone')
    word, inner = (weights['bert.embeddings.word_embeddings.weight'],
                   weights['bert.encoder.layer.0.intermediate.dense.weight'])
    estimator = weights.get('bert.encoder.layer.0.attention.self.q_p.weight')
    c = Config(
        vocab_size=word.shape[0], hidden_size=word.shape[1], intermediate_size=inner.shape[0],
        num_hidden_layers=sum(n.endswith('.intermediate.dense.weight') for n in weights),
        num_attention_heads=setting(config, 'model', 'heads'),
        max_position_embeddings=weights['bert.embeddings.position_embeddings.weight'].shape[0],
        estimator_rank=0 if estimator is None else estimator.shape[0], dropout=setting(config, 'model', 'dropout'))
    shapes = parameter_shapes(c)
    for name in sorted(shapes.keys() | weights.keys()):
        expected, found = shapes.get(name), tuple(weights[name].shape) if name in weights else None
        if expected != found:
            fail(f'parameter {name}: the reference has shape {expected}, the checkpoint {found}')
    return Reference(c, {n: weights[n].clone().requires_grad_(True) for n in shapes}, fit_step_sizes=False)


def optimizer_of(model, weight_decay):
    """AdamW; only matrices and tables decay: no biases, scales of layer normalisations, step sizes."""
    groups = [{'params': [p for p in model.p.values() if p.dim() == 2], 'weight_decay': weight_decay},
              {'params': [p for p in model.p.values() if p.dim() != 2], 'weight_decay': 0.0}]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.999), eps=1e-8)


def lanes_of(record):
    """The micro-batches of a line of `bipft schedule --json` as tensors."""
    names = ('input_ids', 'token_type_ids', 'attention_mask', 'labels', 'next_sentence_label')
    return [{n: torch.tensor(lane[n], dtype=torch.long) for n in names} for lane in record['lanes']]


def scheduled(bipft, config_path, *options):
    """The lines of `bipft schedule --json`, one at a time."""
    command = [bipft, 'schedule', '--config', config_path, *options, '--json']
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode != 0:
        fail(f'{" ".join(command)} ended with {process.returncode}')


def masked_tokens(lanes):
    return sum(int((lane['labels'] != IGNORED).sum()) for lane in lanes)


def cross_entropies(model, lane):
    """Sums, over the masked tokens and over the sequences. Only masked positions go through the decoder."""
    hidden, pooled = model.encode(lane['input_ids'], lane['attention_mask'], lane['token_type_ids'])
    masked = lane['labels'] != IGNORED
    logits, next_sentence = model.heads(hidden[-1][masked], pooled)
    return (F.cross_entropy(logits, lane['labels'][masked], reduction='sum'),
            F.cross_entropy(next_sentence, lane['next_sentence_label'], reduction='sum'))


def train_step(model, optimizer, lanes, learning_rate, gradient_clip):
    """One update. Returns the MLM loss and the norm of the gradient before clipping."""
    tokens, sequences = masked_tokens(lanes), sum(len(lane['input_ids']) for lane in lanes)
    optimizer.zero_grad()
    total = 0.0
    for lane in lanes:  # each lane has its own backward: 1/√numel of the step sizes counts a micro-batch
        mlm, next_sentence = cross_entropies(model, lane)
        (mlm / tokens + next_sentence / sequences).backward()
        total += mlm.item()
    limit = gradient_clip if gradient_clip > 0 else math.inf
    norm = torch.nn.utils.clip_grad_norm_(list(model.p.values()), limit)
    for group in optimizer.param_groups:
        group['lr'] = learning_rate
    optimizer.step()
    return total / tokens, norm.item()


@torch.no_grad()
def held_out_loss(model, lanes):
    model.training = False
    total = sum(cross_entropies(model, lane)[0].item() for lane in lanes)
    model.training = True
    return total / masked_tokens(lanes)


def main():
    a = arguments()
    if a.threads:
        torch.set_num_threads(a.threads)
    with open(a.config, encoding='utf-8') as f:
        config = yaml.safe_load(f)
    if config.get('teacher'):
        fail('the run has a teacher, which this comparison does not know')
    torch.manual_seed(config.get('seed', 0))
    train, evaluation = read_metrics(a.run / 'metrics.jsonl')

    steps = max(train) if a.steps is None else a.steps
    missing = [step for step in range(1, steps + 1) if step not in train]
    if missing:
        fail(f'{a.run}/metrics.jsonl has no training record of step {missing[0]}')
    evaluated = sorted(step for step in evaluation if step <= steps)
    if not evaluated or evaluated[-1] == 0:
        fail(f'no evaluation after the start and within the first {steps} steps: nothing to compare')
    steps = evaluated[-1]

    model = reference_model(config, initial_weights(a.pretrain, a.config))
    optimizer = optimizer_of(model, setting(config, 'training', 'weight_decay'))
    gradient_clip = setting(config, 'training', 'gradient_clip')
    held_out = [lane for record in scheduled(a.bipft, a.config, '--held-out') for lane in lanes_of(record)]

    print(' step |      bipft |    PyTorch |   ratio', flush=True)

    def compare(step):
        ours, theirs = evaluation[step]['mlm_loss'], held_out_loss(model, held_out)
        print(f'{step:5d} | {ours:10.5f} | {theirs:10.5f} | {theirs / ours:7.4f}', flush=True)
        return theirs / ours

    ratio = compare(0) if 0 in evaluation else None
    first_step = None
    step = 0
    for record in scheduled(a.bipft, a.config, '--step', '1', '--count', str(steps)):
        step += 1
        if record['step'] != step:
            fail(f'bipft schedule printed step {record["step"]} in the place of step {step}')
        ours = train[step]
        loss, norm = train_step(model, optimizer, lanes_of(record), ours['learning_rate'], gradient_clip)
        if step == 1:
            first_step = (ours['mlm_loss'], loss, ours['gradient_norm'], norm)
        if step in evaluation:
            ratio = compare(step)
    if step != steps:
        fail(f'bipft schedule printed fewer than {steps} steps')

    print('first update: MLM loss {:.5f} and {:.5f}, gradient norm {:.5f} and {:.5f}'.format(*first_step))
    agrees = abs(ratio - 1) <= a.tolerance  # false for NaN
    print(f'the last evaluation {"agrees" if agrees else "DIFFERS"}: {abs(ratio - 1):.2%} apart, '
          f'{a.tolerance:.2%} allowed')
    sys.exit(0 if agrees else 1)


if __name__ == '__main__':
    main()
