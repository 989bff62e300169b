# SPDX-License-Identifier: Apache-2.0
"""Fine-tunes a BERT with bipft at full precision and with transformers' BertForSequenceClassification, and compares dev scores.

The recipe is that of transformers' run_glue.py: AdamW without decay, 32 rows a step, rate 2e-5 that falls on a line to zero,
3 epochs, gradients clipped to norm 1. transformers reads the same files by itself, with its own tokenizer; it starts from the
same weights and the same head (of a bipft run of no steps) and takes the rows in the same order (`bipft schedule`), so that
with --dropout 0 both courses are one and differ by rounding alone; with dropout their masks differ too. Exits with 1 if the
scores of a task lie more than --tolerance apart.

    python3 -m venv venv && venv/bin/pip install torch transformers safetensors scipy scikit-learn
    venv/bin/python scripts/pytorch/compare_finetuning.py --model bert/ --data glue/ --tasks rte stsb --work runs/compare
"""
import argparse
import csv
import json
import subprocess
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, matthews_corrcoef
from transformers import BertForSequenceClassification, BertTokenizerFast

# Folder, the columns of texts and label (numbers where the files have no header), and the metric.
TASKS = {
    'cola': ('CoLA', (3,), 1, 'matthews'),
    'rte': ('RTE', ('sentence1', 'sentence2'), 'label', 'accuracy'),
    'sst2': ('SST-2', ('sentence',), 'label', 'accuracy'),
    'stsb': ('STS-B', ('sentence1', 'sentence2'), 'score', 'pearson'),
}


def arguments():
    p = argparse.ArgumentParser(description="Compare fine-tuning at full precision with transformers'.")
    p.add_argument('--model', required=True, type=Path, help='a folder with config.json, model.safetensors, vocab.txt')
    p.add_argument('--data', required=True, type=Path, help='the folder of GLUE')
    p.add_argument('--tasks', nargs='+', default=['rte', 'stsb'], choices=sorted(TASKS))
    p.add_argument('--work', required=True, type=Path, help='a folder for the runs of bipft')
    p.add_argument('--bipft', default='.build/release/bipft', help='path of the program (default: %(default)s)')
    p.add_argument('--epochs', type=int, default=3)
    p.add_argument('--batch', type=int, default=32)
    p.add_argument('--rate', default='2e-5')
    p.add_argument('--length', type=int, default=128)
    p.add_argument('--dropout', default='0.1')
    p.add_argument('--rows', type=int, help='train on the first so many rows only')
    p.add_argument('--tolerance', type=float, default=0.01, help='of the score (default: %(default)s)')
    p.add_argument('--threads', type=int, help="PyTorch's threads (default: its own choice)")
    return p.parse_args()


def data_of(a, task):
    """The folder of the task's files, with the first rows of the training file alone if so wished."""
    name = TASKS[task][0]
    if a.rows is None:
        return a.data / name
    folder = a.work / 'data' / name
    folder.mkdir(parents=True, exist_ok=True)
    lines = (a.data / name / 'train.tsv').read_bytes().split(b'\n')
    has_header = isinstance(TASKS[task][2], str)
    (folder / 'train.tsv').write_bytes(b'\n'.join(lines[:a.rows + has_header]) + b'\n')
    (folder / 'dev.tsv').write_bytes((a.data / name / 'dev.tsv').read_bytes())
    return folder


def fine_tune(a, task, folder, *more):
    """A run of bipft; a finished one is taken as it is."""
    command = [a.bipft, 'finetune', '--task', task, '--from', str(a.model), '--precision', 'full', '--data', str(data_of(a, task)),
               '--epochs', str(a.epochs), '--batch', str(a.batch), '--learning-rate', a.rate, '--length', str(a.length),
               '--set', f'model.dropout={a.dropout}', '--set', 'training.decay=linear', '--set', 'training.gradient_clip=1',
               '--output', str(folder), *more]
    if subprocess.run(command, stdout=subprocess.DEVNULL).returncode != 0:
        sys.exit(f'error: {" ".join(command)} failed')


def rows_of(path, texts, label):
    """Texts and labels of a file of GLUE, whose quotes are plain characters."""
    with open(path, encoding='utf-8', newline='') as file:
        lines = list(csv.reader(file, delimiter='\t', quoting=csv.QUOTE_NONE))
    if isinstance(label, str):
        header, lines = lines[0], lines[1:]
        texts, label = [header.index(t) for t in texts], header.index(label)
    return [([line[t] for t in texts], line[label]) for line in lines]


class Encoder:
    """Rows as tensors, and their labels as numbers."""
    def __init__(self, tokenizer, length, classes):
        self.tokenizer, self.length, self.classes = tokenizer, length, classes

    def __call__(self, rows):
        columns = list(zip(*(texts for texts, _ in rows)))
        tokens = self.tokenizer(*(list(c) for c in columns), padding='max_length', truncation=True,
                                max_length=self.length, return_tensors='pt')
        if self.classes:
            return tokens, torch.tensor([self.classes.index(label) for _, label in rows])
        return tokens, torch.tensor([float(label) for _, label in rows])


def sample_ids(bipft, run, step):
    command = [bipft, 'schedule', '--config', str(run / 'config.yaml'), '--step', str(step), '--json']
    record = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return [i for lane in record['lanes'] for i in lane['sample_ids']], record['lanes'][0]['input_ids'][0]


def train(model, encode, rows, rates, run, a):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    model.train()
    for step, rate in enumerate(rates, 1):
        ids, first = sample_ids(a.bipft, run, step)
        tokens, labels = encode([rows[i] for i in ids])
        if tokens['input_ids'][0].tolist() != first:
            sys.exit(f'error: step {step}: the tokenizers differ on {rows[ids[0]]}')
        loss = model(**tokens, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group['lr'] = rate
        optimizer.step()


def score(model, encode, rows, metric):
    model.eval()
    outputs, targets = [], []
    with torch.no_grad():
        for start in range(0, len(rows), 64):
            tokens, labels = encode(rows[start:start + 64])
            outputs += model(**tokens).logits.squeeze(-1).tolist() if metric == 'pearson' \
                else model(**tokens).logits.argmax(-1).tolist()
            targets += labels.tolist()
    if metric == 'pearson':
        return {'pearson': float(pearsonr(outputs, targets)[0]), 'spearman': float(spearmanr(outputs, targets)[0])}
    return {metric: float({'accuracy': accuracy_score, 'matthews': matthews_corrcoef}[metric](targets, outputs))}


def compare(a, task):
    """A line of the table, and whether the scores agree."""
    _, texts, label, metric = TASKS[task]
    run, start = a.work / task, a.work / f'{task}-start'
    fine_tune(a, task, start, '--set', 'training.steps=0')
    began = time.time()
    fine_tune(a, task, run)
    minutes = (time.time() - began) / 60
    records = [json.loads(line) for line in (run / 'metrics.jsonl').read_text(encoding='utf-8').splitlines()]
    rates = [r['learning_rate'] for r in records if r['kind'] == 'train']
    ours = {k: v for k, v in [r for r in records if r['kind'] == 'eval'][-1].items()
            if k in ('matthews', 'accuracy', 'pearson', 'spearman')}

    classes = json.loads((run / 'task.json').read_text(encoding='utf-8'))['classes']
    dropout = float(a.dropout)
    model = BertForSequenceClassification.from_pretrained(
        a.model, num_labels=max(1, len(classes)), hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)
    weights = load_file(start / 'checkpoints' / 'step-00000000' / 'model.safetensors')
    with torch.no_grad():
        model.classifier.weight.copy_(weights['classifier.weight'])
        model.classifier.bias.copy_(weights['classifier.bias'])
    encode = Encoder(BertTokenizerFast(str(a.model / 'vocab.txt'), do_lower_case=True), a.length, classes)
    began = time.time()
    train(model, encode, rows_of(data_of(a, task) / 'train.tsv', texts, label), rates, run, a)
    theirs_minutes = (time.time() - began) / 60
    theirs = score(model, encode, rows_of(data_of(a, task) / 'dev.tsv', texts, label), metric)
    for name, value in theirs.items():
        print(f'| {task} | {name} | {ours[name]:.4f} | {value:.4f} | {abs(ours[name] - value):.4f} | {len(rates)} '
              f'| {minutes:.1f}, {theirs_minutes:.1f} |', flush=True)
    return all(abs(ours[n] - v) <= a.tolerance for n, v in theirs.items())


def main():
    a = arguments()
    torch.manual_seed(1)
    if a.threads:
        torch.set_num_threads(a.threads)
    print('| task | metric | bipft | transformers | apart | steps | minutes of each |')
    print('| --- | --- | --- | --- | --- | --- | --- |', flush=True)
    agree = [compare(a, task) for task in a.tasks]
    sys.exit(0 if all(agree) else 1)


if __name__ == '__main__':
    main()
