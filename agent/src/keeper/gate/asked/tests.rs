use super::*;
use crate::keeper::upstream::Way;
use crate::model::samples;

/// Both a leaf and a connection are asked for by this.
#[test]
fn a_worker_gets_nothing_for_another_s_connection_nor_for_the_canary_s() {
    let worker = |generation, worker| WorkerId { generation, worker };
    let mut open = HashMap::new();
    let mut opened = |cookie, rule: &str, worker| {
        let mut flow = samples::flow();
        flow.id.cookie = cookie;
        flow.rule = rule.into();
        let id = flow.id;
        open.insert(id, Open { flow: Arc::new(flow), way: Way::nowhere(), worker });
        id
    };
    let own = opened(1, "db.example:5432", worker(1, 0));
    let neighbour = opened(2, "db.example:5432", worker(1, 1));
    let older = opened(3, "db.example:5432", worker(0, 0));
    let canary = opened(4, CANARY_RULE, worker(1, 0));
    let gone = FlowId { cookie: 5, ..own };
    let reused = FlowId { connected_at: own.connected_at + 1, ..own };
    let of = |flow| of_worker(&open, worker(1, 0), flow).map(|open| open.flow.id);
    assert_eq!(of(own), Ok(own));
    for flow in [neighbour, older, canary, gone, reused] {
        assert_eq!(of(flow), Err("this worker has no such connection"), "{flow}");
    }
}
