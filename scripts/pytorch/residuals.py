# SPDX-License-Identifier: Apache-2.0
"""Measures what binarisation throws away in a checkpoint with PyTorch, and compares with `bipft residuals`.

The reference model runs the same held-out sequences (`bipft schedule --held-out`), takes Q, K, V before and after binarisation,
and computes each quantity of the JSON by its definition (docs/METHOD.md). Exits with 1 where one differs by more than --tolerance
(relative; shares absolutely).

    python3 -m venv venv && venv/bin/pip install torch numpy safetensors pyyaml
    venv/bin/python scripts/pytorch/residuals.py runs/demo/checkpoints/step-00000600 corpus/demo
"""
import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file

from bipft_reference import Reference
from compare_with_pytorch import reference_model


class Probe(Reference):
    """Keeps what goes into and comes out of each layer's binarisers, and the estimates."""
    seen = None

    def sign(self, x, name):
        binary = super().sign(x, name)
        self.seen[name] = (x, binary)
        return binary

    def qlinear(self, x, n):
        """The product of signs as the whole number that it is: rounding would turn signs over in the layers that follow."""
        w = self.p[n + '.weight']
        alpha = self.p[n + '.input_clip_val'].clamp(min=1e-5)
        signs = torch.where(x + self.p[n + '.move.bias'] >= 0, 1.0, -1.0)
        count = torch.nn.functional.linear(signs, torch.where(w - w.mean() >= 0, 1.0, -1.0))
        return count * (alpha * w.abs().mean()) + self.p[n + '.bias']

    def linear(self, x, n):
        y = super().linear(x, n)
        self.seen[n] = y
        return y


def arguments():
    p = argparse.ArgumentParser(description='Compare bipft residuals with PyTorch.')
    p.add_argument('checkpoint', type=Path)
    p.add_argument('corpus')
    p.add_argument('--sequences', type=int, default=8)
    p.add_argument('--bipft', default='.build/release/bipft', help='path of the program (default: %(default)s)')
    p.add_argument('--tolerance', type=float, default=1e-4)
    return p.parse_args()


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f'error: {" ".join(map(str, command))}: {done.stderr.strip()}')
    return done.stdout


def measured(model, lanes):
    """Of each layer and head the sums over real tokens, in float64."""
    c = model.c
    heads, width = c.num_attention_heads, c.hidden_size // c.num_attention_heads
    sums = {}

    def add(layer, head, key, matrix):
        place = sums.setdefault((layer, head), {})
        place[key] = place.get(key, 0.0) + float((matrix.double() ** 2).sum())

    def add_spectrum(layer, head, matrix):
        values = torch.linalg.svdvals(matrix.double()) ** 2
        place = sums.setdefault((layer, head), {})
        old = place.get('spectrum', torch.zeros(0, dtype=torch.float64))
        size = max(len(old), len(values))
        place['spectrum'] = torch.nn.functional.pad(old, (0, size - len(old))) + \
            torch.nn.functional.pad(values, (0, size - len(values)))

    for lane in lanes:
        ids, mask, types = (torch.tensor(lane[k]) for k in ('input_ids', 'attention_mask', 'token_type_ids'))
        model.seen = {}
        with torch.no_grad():
            model.encode(ids, mask, types)
        for layer in range(c.num_hidden_layers):
            n = f'bert.encoder.layer.{layer}.attention.self.'
            for b in range(len(ids)):
                t = int(mask[b].sum())
                estimate, value_estimate = torch.zeros(t, t, dtype=torch.float64), 0
                if c.estimator_rank:
                    qp, kp, qm, km, vp = (model.seen[n + e][b, :t].double() for e in ('q_p', 'k_p', 'q_m', 'k_m', 'v_p'))
                    estimate, value_estimate = qm @ kp.T + qp @ km.T + qp @ kp.T, vp
                estimate = estimate - estimate.mean(1, keepdim=True)
                for head in range(heads):
                    q, qb, k, kb, v, vb = (
                        x[b, head, :t].double() for e in ('query', 'key', 'value') for x in model.seen[n + 'clip_' + e])
                    residual = q @ k.T - qb @ kb.T
                    centred = residual - residual.mean(1, keepdim=True)
                    for key, matrix in {
                            'scores': q @ k.T, 'residual': residual, 'key_term': qb @ (k - kb).T,
                            'query_term': (q - qb) @ kb.T, 'both_term': (q - qb) @ (k - kb).T, 'seen_residual': centred,
                            'left': centred - estimate, 'values': v, 'value_residual': v - vb,
                            'left_of_values': v - vb - value_estimate}.items():
                        add(layer, head, key, matrix)
                    add_spectrum(layer, head, centred)
    for place in sums.values():
        place['scores_explained'] = 1 - place.pop('left') / place['seen_residual']
        place['values_explained'] = 1 - place.pop('left_of_values') / place['value_residual']
        shares = place.pop('spectrum').cumsum(0)
        for share in (50, 90):
            place[f'rank_{share}'] = int((shares < share / 100 * shares[-1]).sum()) + 1
    return sums


def main():
    a = arguments()
    state = json.loads((a.checkpoint / 'state.json').read_text(encoding='utf-8'))
    text = state['configuration_text']
    config = yaml.safe_load(text)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'run.yaml'
        path.write_text(text, encoding='utf-8')
        batch = json.loads(run(
            a.bipft, 'schedule', '--config', path, '--held-out', '--json', '--set', f'data.corpus={a.corpus}', '--set',
            f'evaluation.sequences={a.sequences}', '--set', f'training.micro_batch={a.sequences}', '--set',
            f'training.global_batch={a.sequences}'))
        output = Path(folder) / 'residuals.json'
        run(a.bipft, 'residuals', a.checkpoint, a.corpus, '--sequences', str(a.sequences), '--json', output)
        ours = json.loads(output.read_text(encoding='utf-8'))
    weights = {name: tensor.float() for name, tensor in load_file(a.checkpoint / 'model.safetensors').items()}
    reference = reference_model(config, weights)
    model = Probe(reference.c, reference.p, fit_step_sizes=False)
    model.training = False
    errors = []
    for (layer, head), sums in sorted(measured(model, batch['lanes']).items()):
        for key, value in sums.items():
            found = ours['layers'][layer]['heads'][head][key]
            scale = 1 if key.endswith('explained') else abs(value)
            error = abs(found - value) / scale
            errors.append((error, f'layer {layer}, head {head}, {key}: bipft {found}, PyTorch {value}'))
    errors.sort(reverse=True)
    print(f'{len(errors)} quantities of {len(ours["layers"])} layers; the largest difference is {errors[0][0]:.1e}, '
          f'{sum(e > a.tolerance for e, _ in errors)} are above {a.tolerance:.0e}')
    for error, line in errors[:5]:
        if error > a.tolerance:
            print(line)
    sys.exit(0 if errors[0][0] <= a.tolerance else 1)


if __name__ == '__main__':
    main()
