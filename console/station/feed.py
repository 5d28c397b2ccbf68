"""A collector: `python -m console.station.feed trades|bookticker` adds synthetic events to its Redis stream.

It stands for the station's Binance collectors. Where Redis is down or full it says so and drops what the moment brings,
as a collector of a live market must.
"""

import argparse
import logging
import sys
import time
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from console.station.layout import STREAMS
from console.station.market import Market, Tempo

_TICK = 0.05  # seconds
_LOG = logging.getLogger("feed")
_RATES = {"trades": 80.0, "bookticker": 160.0}  # events per second between bursts


def _fields(kind: str, market: Market, at: int) -> dict[Any, Any]:
    if kind == "trades":
        trade = market.trade(at)
        return {
            "at": trade.at, "symbol": trade.symbol, "side": trade.side, "price": trade.price, "size": trade.size,
            "trade_id": trade.trade_id,
        }  # fmt: skip
    quote = market.quote(at)
    return {
        "at": quote.at, "symbol": quote.symbol, "bid_price": quote.bid_price, "bid_size": quote.bid_size,
        "ask_price": quote.ask_price, "ask_size": quote.ask_size, "update_id": quote.update_id,
    }  # fmt: skip


def run(kind: str, client: redis.Redis, rate: float) -> None:
    """Feed the stream of `kind` until the process ends."""
    stream = STREAMS[0 if kind == "trades" else 1]
    started = time.time_ns()
    market, tempo = Market(started, started // 1000), Tempo(rate, started)
    sent = dropped = 0
    reported = last = time.monotonic()
    while True:
        time.sleep(_TICK)
        now = time.monotonic()
        count, elapsed, last = tempo.events(now, now - last), now - last, now
        end = time.time_ns() // 1000
        pipeline = client.pipeline(transaction=False)
        for index in range(count):
            at = end - int(elapsed * 1e6 * (count - 1 - index) / max(count, 1))
            pipeline.xadd(stream.name, _fields(kind, market, at), maxlen=stream.max_length, approximate=True)
        try:
            pipeline.execute()
            sent += count
        except redis.RedisError as error:
            dropped += count
            _LOG.error("%s: %d events dropped, %s", stream.name, count, error)
            time.sleep(1.0)
            last = time.monotonic()
        if now - reported > 10:
            _LOG.info("%s: %d events sent, %d dropped", stream.name, sent, dropped)
            reported = now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=sorted(_RATES))
    parser.add_argument("--redis-port", type=int, required=True)
    parser.add_argument("--rate", type=float, help="events per second between bursts")
    given = parser.parse_args()
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    client = redis.Redis(host="127.0.0.1", port=given.redis_port, socket_timeout=5, retry=Retry(NoBackoff(), 0))
    run(given.kind, client, given.rate or _RATES[given.kind])


if __name__ == "__main__":
    main()
