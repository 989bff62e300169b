"""Makes BERT encoders with random weights for the runtimes that scripts/compare_inference.sh measures.

    python scripts/inference/rivals.py FOLDER

Each of the shapes gets a folder: pytorch/ (transformers), float32.onnx and int8.onnx (ONNX Runtime, dynamic quantisation), ct2/
(CTranslate2, int8). Times do not depend on the weights; nothing is fetched.
"""
import os
import subprocess
import sys

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import BertConfig, BertModel

# layers, hidden, heads, intermediate: BERT-base, the shape of MiniLM-L6, the shape of TinyBERT-4.
SHAPES = {'12x768': (12, 768, 12, 3072), '6x384': (6, 384, 12, 1536), '4x312': (4, 312, 12, 1200)}


def vocabulary(folder: str) -> None:
    """A vocab.txt, without which converters make no tokenizer."""
    words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'] + [f'w{number}' for number in range(30522 - 5)]
    with open(f'{folder}/vocab.txt', 'w', encoding='utf-8') as file:
        file.write('\n'.join(words) + '\n')


def make(folder: str, layers: int, hidden: int, heads: int, intermediate: int) -> None:
    os.makedirs(f'{folder}/pytorch', exist_ok=True)
    torch.manual_seed(0)
    config = BertConfig(vocab_size=30522, num_hidden_layers=layers, hidden_size=hidden, num_attention_heads=heads,
                        intermediate_size=intermediate, attn_implementation='eager')
    model = BertModel(config).eval()
    model.save_pretrained(f'{folder}/pytorch')
    vocabulary(f'{folder}/pytorch')
    ids = torch.zeros((2, 16), dtype=torch.long)
    axes = {0: 'batch', 1: 'tokens'}
    torch.onnx.export(
        model, (ids, torch.ones_like(ids), ids), f'{folder}/float32.onnx', dynamo=False, opset_version=17,
        input_names=['input_ids', 'attention_mask', 'token_type_ids'], output_names=['last_hidden_state'],
        dynamic_axes={name: axes for name in
                      ('input_ids', 'attention_mask', 'token_type_ids', 'last_hidden_state')})
    quantize_dynamic(f'{folder}/float32.onnx', f'{folder}/int8.onnx', weight_type=QuantType.QInt8)
    subprocess.run(
        [os.path.join(os.path.dirname(sys.executable), 'ct2-transformers-converter'), '--model',
         f'{folder}/pytorch', '--output_dir', f'{folder}/ct2', '--quantization', 'int8', '--force'], check=True)


for name, shape in SHAPES.items():
    make(f'{sys.argv[1]}/{name}', *shape)
