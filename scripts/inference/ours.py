"""Times a packed model as measure.py does the others, and prints a JSON object a case.

    python scripts/inference/ours.py BIPFT MODEL SHAPE CALLS

The times are those of `bipft bench inference`; load_ms is the whole of another program here: `bipft embed` from its start to the
vector of a line of text, opening and tokeniser included.
"""
import json
import os
import subprocess
import sys
import time


def first_answer(program: str, model: str) -> tuple[float, float]:
    """Milliseconds from start to end, and the largest resident size in MB, of a program that answers once."""
    start = time.perf_counter()
    child = subprocess.Popen([program, 'embed', model], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    child.stdin.write(b'The old man walked to the river.\n')
    child.stdin.close()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = status
    assert status == 0, f'{program} embed: status {status}'
    return 1e3 * (time.perf_counter() - start), usage.ru_maxrss / 1024


def main() -> None:
    program, model, shape, calls = sys.argv[1:5]
    answers = [first_answer(program, model) for _ in range(10)]
    output = subprocess.run([program, 'bench', 'inference', model, '--json', '--repeats', calls], check=True,
                            capture_output=True, text=True).stdout
    for line in output.splitlines():
        case = json.loads(line)
        print(json.dumps({
            'runtime': 'bipft', 'shape': shape, 'case': case['case'], 'threads': case['threads'],
            'cpu_ms': round(case['least_ms'], 2), 'least_ms': round(case['least_ms'], 2),
            'median_ms': round(case['median_ms'], 2), 'load_ms': round(min(answers)[0], 1),
            'peak_mb': round(case['peak_mb']), 'first_answer_peak_mb': round(max(peak for _, peak in answers)),
            'file_mb': round(os.path.getsize(model) / 1e6, 1)}))


main()
