"""Runs all tests without a mutant, and then with each mutant the tests that reach it."""

import concurrent.futures
import pathlib
import tempfile
import time
from typing import Iterator

import tests
from results import Results
from sources import say
from tests import Ran, Test

# Seconds in which a test ends without a mutant.
SURVEY = 400
# A test with a mutant is stopped after this many seconds, or this many times its own time, whichever is later. The
# second pair is for a mutant that no test catches in that time: tests wait for 60 s before they fail.
SOON, SOON_TIMES = 15, 5
LATE, LATE_TIMES = 110, 10
# As many tests may be stopped.
STOPPED = 4
# The number of no mutant. A test that looks at the environment fails with this number too, so it catches nothing.
NONE = "0"
# What is not known about a test, or was of no use, is found out.
LEFT_OUT = {"left out": "not run yet"}
# As many of the fastest tests are run first, and as many that have the name of the mutant's module. The others of a
# program run together, as many in one process.
FASTEST = 40
TOGETHER = 30


class Trial:
    """Adds what is missing to results."""

    def __init__(self, results: Results, jobs: int, bound: float) -> None:
        self.results, self.jobs, self.bound, self.is_over = results, jobs, bound, False
        self.tests = {test.identifier: test for test in tests.all_tests(results.built["programs"])}

    def run(self, only: set[int]) -> None:
        missing = [test for name, test in self.tests.items() if self.results.tests.get(name, LEFT_OUT)["left out"]]
        if missing:
            say(f"running {len(missing)} tests without a mutant")
            self._parallel(self._survey, missing, "tests")
        left_out = {name: test["left out"] for name, test in self.results.tests.items() if test["left out"]}
        for name, why in sorted(left_out.items()):
            say(f"left out, fails without a mutant: {name}: {why.strip()[-300:]}")
        mutants = [mutant for mutant in self.results.built["mutants"] if not only or mutant["number"] in only]
        open_ = [mutant for mutant in mutants if str(mutant["number"]) not in self.results.verdicts]
        say(f"judging {len(open_)} mutants")
        self._parallel(self._judge, open_, "mutants")

    def _parallel(self, work, items: list, what: str) -> None:
        """Does the work for all items, and says how far it is."""
        said = began = time.monotonic()
        pool = concurrent.futures.ThreadPoolExecutor(self.jobs)
        try:
            done = concurrent.futures.as_completed([pool.submit(work, item) for item in items])
            for count, future in enumerate(done, 1):
                future.result()
                if time.monotonic() - said > 60:
                    said = time.monotonic()
                    say(f"{count} of {len(items)} {what} after {said - began:.0f} s")
                    self.results.write()
        finally:
            self.is_over = True
            pool.shutdown(cancel_futures=True)
            self.is_over = False
            self.results.write()

    def _survey(self, test: Test) -> None:
        """Notes how long a test takes, and which mutants it reaches."""
        with tempfile.NamedTemporaryFile("r", prefix="ftp-m-reached-") as reached:
            # Servers run as other users.
            path = pathlib.Path(reached.name)
            path.chmod(0o666)
            ran = tests.run(test, SURVEY, FTP_MUTANTS_REACHED=str(path))
            numbers = sorted({int(line) for line in path.read_text().split()})
        if ran.status != 0:
            # The file that it writes may be why.
            ran = tests.run(test, SURVEY, FTP_MUTANT=NONE)
        said = "" if ran.status == 0 else ran.said or "no end"
        self.results.add_test(test.identifier, round(ran.seconds, 3), numbers, said)

    def _order(self, mutant: dict) -> list[Test]:
        """The tests that reach a mutant: fast ones first, then those of its crate, and those first that reach few
        mutants."""
        reaching = [
            (test["seconds"], len(test["reached"]), name)
            for name, test in self.results.tests.items()
            if mutant["number"] in test["reached"] and not test["left out"] and name in self.tests
        ]
        reaching.sort()
        # Unit tests of `storage/s3/rename.rs` are named `storage::s3::rename::tests`.
        crate, _, *module = mutant["file"].removesuffix(".rs").removesuffix("/mod").split("/")
        own = [test for test in reaching if test[2].startswith(f"{crate} lib {crate.replace('-', '_')}: {'::'.join(module)}::")]
        rest = sorted(reaching, key=lambda test: (not test[2].startswith(f"{crate} "), test[0] * test[1]))
        ordered = dict.fromkeys([*own[:FASTEST], *reaching[:FASTEST], *rest])
        return [self.tests[name] for _, _, name in ordered]

    def _judge(self, mutant: dict) -> None:
        ordered = self._order(mutant)
        verdict = {"verdict": "missed" if ordered else "not reached", "tests": len(ordered)}
        began, stopped = time.monotonic(), []
        passed = 0
        for test, most in self._single(mutant, ordered):
            if self.is_over:
                return
            if time.monotonic() - began > self.bound or len(stopped) == STOPPED:
                break
            passed = most
            if test is None:
                continue
            ran = self._run(mutant, test, SOON, SOON_TIMES)
            if ran.status is None:
                stopped.append(test)
            elif ran.status and self._is_caught(mutant, test, ran):
                verdict |= caught(test, ran)
                stopped = []
                break
        for test in stopped[:1]:
            if self.is_over:
                return
            ran = self._run(mutant, test, LATE, LATE_TIMES)
            if ran.status and self._passes(test):
                verdict |= caught(test, ran)
            elif ran.status is None:
                verdict |= {"verdict": "timeout", "test": test.identifier}
        verdict |= {"tried": passed, "is cut": passed < len(ordered), "seconds": round(time.monotonic() - began, 1)}
        self.results.add_verdict(mutant["number"], verdict)
        what = f"{mutant['number']} {mutant['file']}:{mutant['line']} {mutant['kind']}"
        say(f"{what}: {verdict['verdict']} after {verdict['tried']} of {verdict['tests']} tests, {verdict.get('test', '')}")

    def _single(self, mutant: dict, ordered: list[Test]) -> Iterator[tuple[Test | None, int]]:
        """The tests that must run alone: the first ones, and of the others those that fail among others; and the
        number of tests that have run by then. None: others have run, and passed."""
        yield from ((test, count) for count, test in enumerate(ordered[: 2 * FASTEST], 1))
        rest, done = ordered[2 * FASTEST :], len(ordered[: 2 * FASTEST])
        while rest:
            together = [test for test in rest if test.program == rest[0].program][:TOGETHER]
            rest = [test for test in rest if test not in together]
            done += len(together)
            seconds = sum(self.results.tests[test.identifier]["seconds"] for test in together)
            failed = tests.suspects(together, max(2 * SOON, SOON_TIMES * seconds), FTP_MUTANT=str(mutant["number"]))
            yield from ((test, done) for test in failed or [None])

    def _run(self, mutant: dict, test: Test, least: float, times: float) -> Ran:
        deadline = max(least, times * self.results.tests[test.identifier]["seconds"])
        return tests.run(test, deadline, FTP_MUTANT=str(mutant["number"]))

    def _is_caught(self, mutant: dict, test: Test, ran: Ran) -> bool:
        """Whether a test that failed fails because of the mutant."""
        again = self._run(mutant, test, max(SOON, 2 * ran.seconds), SOON_TIMES)
        if again.status == 0 or not self._passes(test):
            self.results.add_flake(test.identifier)
            return False
        return True

    def _passes(self, test: Test) -> bool:
        """Whether a test passes without a mutant."""
        return tests.run(test, SURVEY, FTP_MUTANT=NONE).status == 0


def caught(test: Test, ran: Ran) -> dict:
    return {"verdict": "caught", "test": test.identifier, "said": ran.said}
