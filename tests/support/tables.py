"""Random tables as text, with what is said of them in the arguments of pandas.read_csv."""

from __future__ import annotations

import csv
import io
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

LETTERS = ["a", "B", "ü", "€", "#", ";", ",", " ", '"', "\n", "\t", "|", "5", "."]
NAMES = ["Sepal Length (cm)", "LABEL", "Größe", "growth_%", "it's", "a.b", "c" * 80]


@dataclass
class RandomTable:
    """A table that `seed` makes: its text, and the arguments that read it."""

    seed: int
    arguments: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.delimiter = self.rng.choice([",", ";", "\t", "|"])
        self.decimal = self.rng.choice([".", ","]) if self.delimiter != "," else "."
        marks = [None, ",", ".", "'", " "]
        self.thousands = self.rng.choice([mark for mark in marks if mark != self.decimal])
        self.missing = self.rng.choice([[], ["-"], ["NA"], ["?", "-"], [-999]])
        self.encoding = self.rng.choice(["utf-8", "cp1252", "utf-16"])
        self.comment = self.rng.choice([None, "#"])
        said = {"sep": self.delimiter, "decimal": self.decimal, "thousands": self.thousands, "encoding": self.encoding}
        usual = {"sep": ",", "decimal": ".", "thousands": None, "encoding": "utf-8", "comment": None, "na_values": []}
        said |= {"comment": self.comment, "na_values": self.missing}
        self.arguments |= {name: value for name, value in said.items() if value != usual[name]}
        self.kinds = [self.rng.choice(["int", "float", "text", "bool", "date"]) for _ in range(self.rng.randint(1, 5))]
        self.names = self.rng.sample(NAMES, len(self.kinds))
        self.dates = [name for name, kind in zip(self.names, self.kinds, strict=True) if kind == "date"]
        if self.dates:
            self.form = self.rng.choice(["%d.%m.%Y", "%d/%m/%Y", "%d-%m-%Y %H:%M"])
            self.arguments |= {"parse_dates": self.dates, "dayfirst": True}
        self.data = self._text().encode(self.encoding)

    def _text(self) -> str:
        out = io.StringIO()
        writer = csv.writer(
            out,
            delimiter=self.delimiter,
            quoting=self.rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
            lineterminator=self.rng.choice(["\n", "\r\n"]),
        )
        n_skipped = self.rng.choice([0, 0, 1, 3])
        out.write("".join(f"exported {i}\n" for i in range(n_skipped)))
        if n_skipped:
            self.arguments["skiprows"] = n_skipped
        if self.rng.random() < 0.8:
            writer.writerow([*self.names, "y"])
        else:
            self.arguments |= {"header": None, "names": [*self.names, "y"]}
        for i in range(self.rng.randint(3, 12)):
            if self.comment and self.rng.random() < 0.2:
                out.write('# a "comment; of, two\n')
            out.write("\n" * (self.rng.random() < 0.1))
            writer.writerow([*(self._cell(kind, i) for kind in self.kinds), i % 2])
        rewritten = self.decimal == "," and "text" in self.kinds  # the Python engine of pandas turns the text , into .
        if self.rng.random() < 0.3 and not rewritten:
            self.arguments["skipfooter"] = 1
            out.write(f"TOTAL{self.delimiter}3\n")
        self._choose()
        return out.getvalue()

    def _choose(self) -> None:
        columns = [*self.names, "y"]
        if self.rng.random() < 0.3 and not self.dates:
            columns = [*self.rng.sample(self.names, self.rng.randint(1, len(self.names))), "y"]
            self.arguments["usecols"] = columns
        others = [name for name in columns if name != "y" and name not in self.dates]
        if others and self.rng.random() < 0.3:
            self.arguments["dtype"] = {self.rng.choice(others): str}

    def _cell(self, kind: str, row: int) -> str:
        if row and self.rng.random() < 0.15:
            return str(self.rng.choice([*self.missing, ""]))
        if kind == "text":
            letters = [letter for letter in LETTERS if letter != self.comment]
            return "".join(self.rng.choices(letters, k=self.rng.randint(1, 6))).strip() or "t"
        if kind == "bool":
            return self.rng.choice(["True", "False"])
        if kind == "date":
            parts = [self.rng.randint(*ends) for ends in ((2000, 2030), (1, 12), (1, 28), (0, 23), (0, 59))]
            return datetime(*parts, tzinfo=UTC).strftime(self.form)
        return self._number(kind)

    def _number(self, kind: str) -> str:
        groups = "," if self.thousands and self.rng.random() < 0.7 else ""
        digits = 10 ** self.rng.randint(0, 7)
        text = f"{self.rng.randint(-digits, digits):{groups}}"
        if kind == "float":
            text = f"{self.rng.uniform(-digits, digits):{groups}.{self.rng.randint(1, 5)}f}"
        return text.replace(",", "T").replace(".", self.decimal).replace("T", self.thousands or "")
