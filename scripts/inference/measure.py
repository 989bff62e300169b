"""Times one runtime on one case in a process of its own, and prints a JSON object.

    python scripts/inference/measure.py RUNTIME FOLDER BATCH TOKENS THREADS [SECONDS]

RUNTIME: pytorch-float32, pytorch-bfloat16, pytorch-int8, onnxruntime-int8 or ctranslate2-int8; FOLDER is one of rivals.py's.
cpu_ms: the least processor time of a call, all threads together (of blocks of calls of a tenth of a second: the time of other
threads is accounted for late); least_ms, median_ms: by the clock; load_ms: from the file to
a model that is ready, without imports; peak_mb: of the process, Python included; file_mb: of what is loaded.
"""
import json
import os
import resource
import statistics
import sys
import time


def size(path: str) -> int:
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(os.path.getsize(os.path.join(path, name)) for name in os.listdir(path)
               if name.endswith(('.bin', '.safetensors')))


def pytorch(folder, precision, batch, tokens, threads):
    import torch
    from transformers import BertModel
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    start = time.perf_counter()
    model = BertModel.from_pretrained(f'{folder}/pytorch').eval()
    if precision == 'bfloat16':
        model = model.to(torch.bfloat16)
    if precision == 'int8':
        model = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    load = time.perf_counter() - start
    ids = torch.randint(5, 30000, (batch, tokens))
    mask = torch.ones_like(ids)

    def call():
        with torch.inference_mode():
            return model(input_ids=ids, attention_mask=mask).last_hidden_state
    return call, load, size(f'{folder}/pytorch')


def onnxruntime(folder, precision, batch, tokens, threads):
    import numpy
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    path = f'{folder}/{precision}.onnx'
    start = time.perf_counter()
    session = ort.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    load = time.perf_counter() - start
    ids = numpy.random.randint(5, 30000, (batch, tokens), dtype=numpy.int64)
    feed = {'input_ids': ids, 'attention_mask': numpy.ones_like(ids), 'token_type_ids': numpy.zeros_like(ids)}
    return (lambda: session.run(['last_hidden_state'], feed)), load, size(path)


def ctranslate2(folder, precision, batch, tokens, threads):
    import ctranslate2 as ct2
    import numpy
    path = f'{folder}/ct2'
    start = time.perf_counter()
    encoder = ct2.Encoder(path, device='cpu', compute_type=precision, inter_threads=1, intra_threads=threads)
    load = time.perf_counter() - start
    ids = numpy.random.randint(5, 30000, (batch, tokens)).tolist()
    return (lambda: numpy.array(encoder.forward_batch(ids).last_hidden_state)), load, size(path)


def main() -> None:
    runtime, folder = sys.argv[1:3]
    batch, tokens, threads = map(int, sys.argv[3:6])
    seconds = float(sys.argv[6]) if len(sys.argv) > 6 else 4
    os.environ['OMP_NUM_THREADS'] = str(threads)
    name, precision = runtime.split('-')
    call, load, file = {'pytorch': pytorch, 'onnxruntime': onnxruntime, 'ctranslate2': ctranslate2}[name](
        folder, precision, batch, tokens, threads)
    call()
    processor, clock = [], []
    end = time.perf_counter() + seconds
    while len(clock) < 5 or time.perf_counter() < end:
        first, used, calls = time.perf_counter(), time.process_time(), 0
        while calls == 0 or time.perf_counter() < first + 0.1:
            start = time.perf_counter()
            call()
            clock.append(1e3 * (time.perf_counter() - start))
            calls += 1
        processor.append(1e3 * (time.process_time() - used) / calls)
    print(json.dumps({
        'runtime': runtime, 'shape': os.path.basename(folder), 'case': f'{batch}x{tokens}', 'threads': threads,
        'cpu_ms': round(min(processor), 2), 'least_ms': round(min(clock), 2),
        'median_ms': round(statistics.median(clock), 2), 'load_ms': round(1e3 * load, 1),
        'peak_mb': round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024), 'file_mb': round(file / 1e6, 1)}))


main()
