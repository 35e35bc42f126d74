"""The result as a table: by crate, by kind of mutant, and the mutants that were not caught."""

import collections

from results import Results

VERDICTS = ("caught", "timeout", "missed", "not reached", "invalid")


def line(mutant: dict) -> str:
    """A mutant in one line."""
    after = mutant["after"] or "(nothing)"
    place = f"{mutant['file']}:{mutant['line']}"
    return f"{mutant['number']:4} {place} {mutant['function']}: {mutant['kind']}: {mutant['before']}  ->  {after}"


def show(results: Results) -> float:
    """Prints everything; the share of the mutants that compile and are caught, in percent."""
    mutants = results.built["mutants"]
    verdicts = {mutant["number"]: results.verdicts.get(str(mutant["number"]), {}) for mutant in mutants}
    for verdict in ("timeout", "missed", "not reached", "invalid"):
        some = [mutant for mutant in mutants if verdicts[mutant["number"]].get("verdict") == verdict]
        if some:
            print(f"\n{verdict}:")
        for mutant in some:
            cut = verdicts[mutant["number"]].get("is cut") and verdict == "missed"
            print(line(mutant) + (" (not all tests were run)" if cut else ""))
    rows: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    for mutant in mutants:
        verdict = verdicts[mutant["number"]].get("verdict", "open")
        for row in (mutant["file"].split("/")[0], mutant["kind"], "all"):
            rows[row][verdict] += 1
    names = [*VERDICTS, "open"]
    print(f"\n{'':12} {'drawn':>11}" + "".join(f" {name:>11}" for name in names) + f" {'caught, %':>11}")
    crates = [name for name in rows if name.startswith("ftp-")]
    kinds = sorted(name for name in rows if name not in crates and name != "all")
    for name in [*crates, *kinds, "all"]:
        row = rows[name]
        counts = "".join(f" {row[verdict]:>11}" for verdict in names)
        print(f"{name:12} {row.total():>11}{counts} {share(row):>11.1f}")
    cut = sum(1 for verdict in verdicts.values() if verdict.get("verdict") == "missed" and verdict.get("is cut"))
    left_out = sum(1 for test in results.tests.values() if test["left out"])
    print(f"\n{results.built['found']} places in {results.built['files']} files, seed {results.built['seed']}")
    print(f"{len(results.tests)} tests, {left_out} of them left out, since they fail without a mutant")
    print(f"{cut} missed mutants had more tests than the bound allows")
    return share(rows["all"])


def share(row: collections.Counter) -> float:
    """Percent of the mutants that compile, and are caught."""
    return 100 * row["caught"] / max(1, row.total() - row["invalid"])
