"""The /tree desk: a keeper takes a job's whole opening tree before it releases anything, and serves it to anyone.

Withholding the tree would leave owners unable to claim, so a tree comes first and stays until its claims end.
"""

from __future__ import annotations

from consent.fields import constant, octets
from consent.keeper.station import Station
from consent.keeper.wire import any_octets, kind_of, read, write
from consent.order import CLAIM_TIME, Order
from consent.tree import SumTree
from consent.validity import check_tree
from core.encoding import encode_cbor
from core.errors import InvalidInput, NotFound, Refused
from core.ids import Address, JobId

PAGE = 1000  # jobs in one answer


def write_deposit(order: Order, tree: SumTree) -> bytes:
    """A request that hands in a job's opening tree."""
    return write("tree", order=order.encode(), tree=tree.encode())


def write_job_query(job: JobId) -> bytes:
    """A request for one job's trees."""
    return write("tree_of", job=job)


def write_payee_query(payee: Address, after: bytes = bytes(32)) -> bytes:
    """A request for up to 1000 ids of jobs that pay `payee`, those above `after`."""
    return write("trees_paying", payee=payee, after=after)


def answer(station: Station, data: bytes) -> bytes:
    """The reply to a request of the /tree path."""
    kind = kind_of(data)
    if kind == "tree":
        return _deposit(station, data)
    if kind == "tree_of":
        return _of_job(station, data)
    if kind == "trees_paying":
        return _paying(station, data)
    raise InvalidInput("The request is none that this path takes.")


def _deposit(station: Station, data: bytes) -> bytes:
    fields = read(data, ("kind", "order", "tree"), "The tree's deposit")
    order = Order.decode(any_octets(fields["order"], "The order"))
    encoded = any_octets(fields["tree"], "The tree")
    station.require_place(order)
    job = order.job_id
    held = station.store.tree(job)
    if held is None:
        # Before the tree is built, which takes seconds: only who opened a job may cause that work.
        if station.facts.lane_word(order, station.facts.look().latest) != order.open_word:
            raise Refused("No open job on chain matches this order.")
        station.admit(order.payer)
        tree = SumTree.decode(encoded)
        for reason in check_tree(order, tree):
            raise Refused(reason)
        station.store.drop_trees(station.now)
        payees = {leaf.payee for leaf in tree.leaves}
        station.store.keep_tree(job, order.encode(), encoded, payees, order.start + CLAIM_TIME)
    elif held[1] != encoded:
        raise Refused("The tree of payments is not the one that the job was opened with.")
    return encode_cbor({"v": 1, "job": job})


def _of_job(station: Station, data: bytes) -> bytes:
    fields = read(data, ("kind", "job"), "The tree's query")
    job = JobId(octets(fields["job"], "The job", 32))
    held = station.store.tree(job)
    if held is None:
        raise NotFound("This keeper does not hold the job's tree.")
    settled = station.store.settled(job)
    return encode_cbor({"v": 1, "order": held[0], "tree": held[1], "final": settled.tree if settled else b""})


def _paying(station: Station, data: bytes) -> bytes:
    fields = read(data, ("kind", "payee", "after"), "The tree's query")
    constant(fields["kind"], "trees_paying", "The request's kind")
    payee = Address(octets(fields["payee"], "The payee", 20))
    jobs = station.store.jobs_paying(payee, octets(fields["after"], "The last id", 32), PAGE)
    return encode_cbor({"v": 1, "jobs": list(jobs)})
