"""A table of what ours.py and measure.py printed, one JSON object a line.

    python scripts/inference/table.py < measurements

Of each case the best round: the least processor time of a call on one thread, the least time by the clock on two; the median of
that round by the clock in brackets; and how many times bipft's least time it is.
"""
import json
import sys

CASES = [('1x16', 1), ('1x128', 1), ('1x512', 1), ('16x128', 2)]


def least(record: dict) -> float:
    return record['cpu_ms'] if record['threads'] == 1 else record['least_ms']


def main() -> None:
    best: dict = {}
    smallest: dict = {}
    for line in sys.stdin:
        record = json.loads(line)
        key = record['shape'], record['runtime']
        case = key + (record['case'], record['threads'])
        if case not in best or least(record) < least(best[case]):
            best[case] = record
        for name in ('load_ms', 'file_mb'):
            smallest[key + (name,)] = min(smallest.get(key + (name,), record[name]), record[name])
    shapes = list(dict.fromkeys(shape for shape, *_ in best))
    for shape in shapes:
        print(f"\n| {shape} | " + ' | '.join(f'{case}, {threads} thread{"s" * (threads > 1)}' for case, threads in CASES)
              + ' | load ms | peak MB | file MB |')
        print('| --- |' + ' --- |' * (len(CASES) + 3))
        for runtime in dict.fromkeys(name for own, name, *_ in best if own == shape):
            cells, peak = [], 0
            for case, threads in CASES:
                record = best.get((shape, runtime, case, threads))
                ours = best.get((shape, 'bipft', case, threads))
                if record is None:
                    cells.append('')
                    continue
                text = f"{least(record):.1f} ({record['median_ms']:.1f})"
                if ours is not None and runtime != 'bipft':
                    text += f', {least(record) / least(ours):.1f}×'
                cells.append(text)
                peak = max(peak, record['peak_mb'])
            print(f"| {runtime} | " + ' | '.join(cells)
                  + f" | {smallest[shape, runtime, 'load_ms']:.0f} | {peak} | {smallest[shape, runtime, 'file_mb']} |")


main()
