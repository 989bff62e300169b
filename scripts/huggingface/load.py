"""Loads a folder that `bipft export --format huggingface` wrote with transformers, and checks that nothing is lost.

    python scripts/huggingface/load.py FOLDER [IDS]

Every tensor that transformers' BERT has is in the file and arrives unchanged; what it does not know is what binarisation adds.
IDS is what `bipft corpus encode` makes of the lines of standard input: the tokenizer of the folder has to give the same.
"""
import json
import sys

import torch
import transformers
from safetensors import safe_open

# What a binary model has and a full-precision one has not (docs/METHOD.md, "Parameter names").
OWN = ('.move.bias', '.input_clip_val', '.clip_query', '.clip_key', '.clip_value', '.clip_attn',
       'bert.pooler.LayerNorm.weight', 'bert.pooler.LayerNorm.bias') + tuple(
           f'.{name}.{part}' for name in ('q_m', 'q_p', 'k_m', 'k_p', 'v_p') for part in ('weight', 'bias'))


def main() -> None:
    transformers.logging.set_verbosity_error()
    folder = sys.argv[1]
    with open(f'{folder}/config.json', encoding='utf-8') as file:
        architecture = json.load(file)['architectures'][0]
    model, info = getattr(transformers, architecture).from_pretrained(folder, output_loading_info=True)
    model.eval()
    assert not info['missing_keys'], f"transformers found no {sorted(info['missing_keys'])}"
    assert not info['mismatched_keys'], f"other shapes: {info['mismatched_keys']}"
    foreign = sorted(key for key in info['unexpected_keys'] if not key.endswith(OWN))
    assert not foreign, f'transformers does not know {foreign}'
    state = model.state_dict()
    loaded = 0
    with safe_open(f'{folder}/model.safetensors', 'pt') as file:
        assert file.metadata()['format'] == 'pt'
        for name in file.keys():
            if name.endswith(OWN):
                continue
            assert torch.equal(state[name], file.get_tensor(name)), f'{name} arrived changed'
            loaded += 1
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    print(f'transformers {transformers.__version__}, {architecture}: {loaded} tensors as in the file, '
          f"{len(info['unexpected_keys'])} of binarisation not known there")
    if len(sys.argv) > 2:
        lines = sys.stdin.read().splitlines()
        with open(sys.argv[2], encoding='utf-8') as file:
            expected = [[int(word) for word in line.split()] for line in file]
        found = [tokenizer(line, add_special_tokens=False)['input_ids'] for line in lines]
        assert len(lines) > 0 and found == expected, 'the tokenizer gives other ids'
        print(f'{type(tokenizer).__name__}: the ids of {len(lines)} lines as bipft gives them')
    ids = torch.tensor([[tokenizer.cls_token_id, 5 % model.config.vocab_size, tokenizer.sep_token_id]])
    with torch.no_grad():
        output = model(ids)
    assert all(torch.isfinite(tensor).all() for tensor in output.values())


main()
