//! The control stream against edges that break its rules.

use central_router::pki;
use federation_proto::control::{EdgeMessage, Hello, SpoolFloor, Status};
use federation_proto::frame::{CloseCode, MAX_CONTROL_LEN, PROTOCOL, encode_control};

use crate::client::{Client, batch, hello};
use crate::site::{Site, Up, edge};

fn frame(message: impl Into<EdgeMessage>) -> Vec<u8> {
    encode_control(&message.into()).unwrap()
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_le_bytes(), bytes].concat()
}

/// What an edge says first, whether it then ends the stream, and what becomes of it.
struct Case {
    name: &'static str,
    says: Vec<u8>,
    ends: bool,
    code: CloseCode,
    reason: &'static str,
}

impl Case {
    fn new(name: &'static str, says: Vec<u8>, code: CloseCode, reason: &'static str) -> Self {
        Self { name, says, ends: false, code, reason }
    }

    async fn run(self, site: &Site, up: &Up) {
        let mut client = Client::dial(up.ready.listen, &pki::edge_identity(site.path(), &edge("eu"))).await.unwrap();
        // The router may have closed before all is said.
        let _ = client.send.write_all(&self.says).await;
        if self.ends {
            let _ = client.send.finish();
        }
        assert_eq!(client.closed().await, self.code, "{}", self.name);
        up.violated(self.code.as_str(), self.reason).await;
    }
}

/// Each broken rule ends the connection that broke it, with the code that says which, and is counted; another edge's goes on.
#[tokio::test(flavor = "multi_thread")]
async fn each_broken_rule_has_its_code() {
    use CloseCode::{Malformed, Timeout, TooLarge, UnknownEdge, Version};
    let site = Site::new("timeouts: {hello: 1s, header: 1s}\n");
    let up = site.start().await;
    let mut honest = site.connect(&up, "us").await;
    let greeting = || frame(hello("eu"));
    let after = |bytes: Vec<u8>| [greeting(), bytes].concat();
    let undeclared = Status { spools: vec![SpoolFloor { spool: vec![9; 16], floor: 1 }], ..Status::default() };
    let spools = |spool: Vec<u8>, n| Hello { spools: vec![SpoolFloor { spool, floor: 0 }; n], ..hello("eu") };
    let mut longer = framed(&[0; 20]);
    longer[0] = 200;
    let cases = [
        Case { ends: true, ..Case::new("a frame cut short", longer.clone(), Malformed, "control_ended") },
        Case::new("a frame that never ends, instead of Hello", longer.clone(), Timeout, "no_hello"),
        Case::new("a frame that never ends, after it", after(longer), Timeout, "control_stalled"),
        Case::new("a length over the cap", (MAX_CONTROL_LEN as u32 + 1).to_le_bytes().to_vec(), TooLarge, "control_frame_length"),
        Case::new("a length of nothing", after(vec![0; 4]), TooLarge, "control_frame_length"),
        Case::new("noise in a frame", framed(&[0xff; 40]), Malformed, "control_frame"),
        Case::new("noise after Hello", after(framed(&[0xff; 40])), Malformed, "control_frame"),
        Case::new("Status before Hello", frame(Status::default()), Malformed, "no_hello"),
        Case::new("a second Hello", after(greeting()), Malformed, "second_hello"),
        Case::new("no version in common", frame(Hello { protocol: 0, ..hello("eu") }), Version, "protocol"),
        Case::new("no encoding in common", frame(Hello { encodings: vec![4242], ..hello("eu") }), Version, "encoding"),
        Case::new("another edge's name", frame(Hello { edge: "us".to_owned(), ..hello("eu") }), UnknownEdge, "name_mismatch"),
        Case::new("a short spool id", frame(spools(vec![1; 3], 1)), Malformed, "spool_id"),
        Case::new("too many spools", frame(spools(vec![1; 16], 99)), TooLarge, "spools"),
        Case::new("a floor of a spool not declared", after(frame(undeclared)), Malformed, "undeclared_spool"),
        Case::new("another edge's spool", frame(Hello { spools: hello("us").spools, ..hello("eu") }), UnknownEdge, "foreign_spool"),
        Case::new("a flood of Status", after(frame(Status::default()).repeat(200)), TooLarge, "control_flood"),
    ];
    for (seq, case) in cases.into_iter().enumerate() {
        case.run(&site, &up).await;
        honest.goes_on("us", seq as u64).await;
    }
    assert_eq!(up.ledger().await["edges"].as_array().unwrap().len(), 1, "what is closed is forgotten");
    up.stop().await;
}

/// A batch that comes before Hello is a broken rule too.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_before_hello_is_refused() {
    let site = Site::new("");
    let up = site.start().await;
    let mut client = Client::dial(up.ready.listen, &pki::edge_identity(site.path(), &edge("eu"))).await.unwrap();
    // Opens the control stream without a whole frame.
    client.send.write_all(&[9, 0]).await.unwrap();
    let (header, payload) = batch("eu", 0, "acme");
    client.ship(&header, &payload).await;
    assert_eq!(client.closed().await, CloseCode::Malformed);
    up.violated("malformed", "no_hello").await;
    up.stop().await;
}

/// An edge that knows another's spool id can neither raise its floor nor take its place: the owner's batches are journalled, and it is
/// told how far its spool was seen, so that a spool put back to an older image is noticed.
#[tokio::test(flavor = "multi_thread")]
async fn a_spool_is_its_edges_own() {
    let site = Site::new("");
    let up = site.start().await;
    let mut owner = site.connect(&up, "us").await;
    assert_eq!(owner.welcome.spools[0].next, 0, "a spool that is new here");
    owner.goes_on("us", 41).await;
    let stolen = Hello { spools: vec![SpoolFloor { floor: 1_000, ..hello("us").spools[0].clone() }], ..hello("eu") };
    let mut thief = Client::dial(up.ready.listen, &pki::edge_identity(site.path(), &edge("eu"))).await.unwrap();
    thief.say(stolen).await;
    assert_eq!(thief.closed().await, CloseCode::UnknownEdge);
    owner.goes_on("us", 42).await;
    assert_eq!(up.ledger().await["tiers"][0]["tenants"][0]["journalled"], 4, "journalled, not taken for a duplicate");
    up.stop().await;
    let up = site.start().await;
    let mut thief = Client::dial(up.ready.listen, &pki::edge_identity(site.path(), &edge("eu"))).await.unwrap();
    thief.say(Hello { protocol: PROTOCOL, spools: hello("us").spools, ..hello("eu") }).await;
    assert_eq!(thief.closed().await, CloseCode::UnknownEdge, "a restart forgets whose it is");
    let owner = site.connect(&up, "us").await;
    assert_eq!(owner.welcome.spools[0].next, 43);
    up.stop().await;
}
