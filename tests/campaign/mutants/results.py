"""What a run has found so far, stored so that it can be continued."""

import json
import os
import pathlib
import threading

# A mutant is the same one in other sources if these are equal.
IDENTITY = ("number", "kind", "file", "function", "before", "after")


class Results:
    """The mutants, the tests with the mutants that each reaches, and a verdict for each mutant."""

    def __init__(self, path: pathlib.Path, built: dict) -> None:
        """`built`: the drawn mutants and the programs of tests."""
        self.path = path
        self.built = built
        # By the identifier of a test: seconds, the reached mutants, and why it is left out.
        self.tests: dict[str, dict] = {}
        # By the number of a mutant, as text: JSON has no other keys.
        self.verdicts: dict[str, dict] = {number: {"verdict": "invalid"} for number in built["invalid"]}
        # Tests that failed once with a mutant, and then did not.
        self.flaky: dict[str, int] = {}
        self._lock = threading.Lock()

    @classmethod
    def read(cls, path: pathlib.Path) -> "Results":
        stored = json.loads(path.read_text())
        results = cls(path, stored["built"])
        results.tests, results.verdicts, results.flaky = stored["tests"], stored["verdicts"], stored["flaky"]
        return results

    def write(self) -> None:
        with self._lock:
            stored = {"built": self.built, "tests": self.tests, "verdicts": self.verdicts, "flaky": self.flaky}
            new = self.path.with_suffix(".new")
            new.write_text(json.dumps(stored, indent=1))
            os.replace(new, self.path)

    def add_test(self, test: str, seconds: float, reached: list[int], left_out: str) -> None:
        with self._lock:
            self.tests[test] = {"seconds": seconds, "reached": reached, "left out": left_out}

    def add_verdict(self, number: int, verdict: dict) -> None:
        with self._lock:
            self.verdicts[str(number)] = verdict
        self.write()

    def add_flake(self, test: str) -> None:
        with self._lock:
            self.flaky[test] = self.flaky.get(test, 0) + 1

    def keep_caught(self, last: "Results") -> None:
        """Takes over the verdicts of the mutants that another run caught."""
        before = {tuple(mutant[name] for name in IDENTITY) for mutant in last.built["mutants"]}
        for mutant in self.built["mutants"]:
            verdict = last.verdicts.get(str(mutant["number"]), {})
            if tuple(mutant[name] for name in IDENTITY) in before and verdict.get("verdict") == "caught":
                self.verdicts[str(mutant["number"])] = verdict
        self.flaky = dict(last.flaky)
