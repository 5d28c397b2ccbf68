"""Synthetic but lifelike market data: correlated random walks, quiet stretches and bursts, a few symbols."""

import random
from dataclasses import dataclass

# Symbol -> price at the incident, smallest price step, usual size of a trade.
SYMBOLS: dict[str, tuple[float, float, float]] = {
    "BTCUSDT": (104_700.0, 0.01, 0.02),
    "ETHUSDT": (3_590.0, 0.01, 0.4),
    "SOLUSDT": (166.2, 0.01, 8.0),
    "BNBUSDT": (993.0, 0.01, 1.1),
    "XRPUSDT": (2.33, 0.0001, 450.0),
    "DOGEUSDT": (0.1793, 0.00001, 4_000.0),
}
LISTED_LATE = "ZECUSDT"  # a symbol that no applied row has: its name is only in the WAL
_LATE = (612.0, 0.01, 0.9)


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade. `at` is microseconds since the epoch (UTC)."""

    at: int
    symbol: str
    side: str
    price: float
    size: float
    trade_id: int


@dataclass(frozen=True, slots=True)
class Quote:
    """The best bid and ask of one symbol. `at` is microseconds since the epoch (UTC)."""

    at: int
    symbol: str
    bid_price: float
    bid_size: float
    ask_price: float
    ask_size: float
    update_id: int


class Market:
    """Prices that walk. One source of trades and quotes; the same `seed` gives the same walk."""

    def __init__(self, seed: int, first_id: int, symbols: tuple[str, ...] = tuple(SYMBOLS)) -> None:
        self._random = random.Random(seed)
        self._next_id = first_id
        self._symbols = symbols
        self._known = {**SYMBOLS, LISTED_LATE: _LATE}
        self._price = {symbol: self._known[symbol][0] for symbol in symbols}
        # The big ones trade more than the small ones.
        self._weights = [1.0 / (rank + 1) for rank in range(len(symbols))]

    def _step(self) -> tuple[str, float, float, float]:
        symbol = self._random.choices(self._symbols, self._weights)[0]
        _, tick, size = self._known[symbol]
        price = self._price[symbol] * (1 + self._random.gauss(0, 0.00004))
        self._price[symbol] = price
        return symbol, round(round(price / tick) * tick, 6), tick, size

    def _size(self, usual: float) -> float:
        return round(usual * self._random.lognormvariate(0, 1.0), 5) or 0.00001

    def trade(self, at: int) -> Trade:
        symbol, price, _, size = self._step()
        self._next_id += 1
        return Trade(at, symbol, self._random.choice(("buy", "sell")), price, self._size(size), self._next_id)

    def quote(self, at: int) -> Quote:
        symbol, price, tick, size = self._step()
        self._next_id += 1
        ask = round(price + tick * self._random.randint(1, 3), 6)
        return Quote(at, symbol, price, self._size(size * 4), ask, self._size(size * 4), self._next_id)


class Tempo:
    """How many events a moment brings: Poisson about `rate` per second, with bursts of a few seconds."""

    def __init__(self, rate: float, seed: int) -> None:
        self._rate = rate
        self._random = random.Random(seed)
        self._factor = 1.0
        self._until = 0.0

    def events(self, now: float, seconds: float) -> int:
        """Return the number of events in the `seconds` before `now` (a monotonic time)."""
        if now >= self._until:
            calm = self._factor != 1.0
            self._factor = 1.0 if calm else self._random.uniform(3.0, 8.0)
            self._until = now + (self._random.expovariate(1 / 12.0) + 2.0 if calm else self._random.uniform(0.5, 2.5))
        mean = self._rate * self._factor * seconds
        # A Poisson draw by its normal approximation where that is good enough.
        if mean > 30:
            return max(0, round(self._random.gauss(mean, mean**0.5)))
        limit, count, product = 2.718281828459045**-mean, 0, self._random.random()
        while product > limit:
            count, product = count + 1, product * self._random.random()
        return count
