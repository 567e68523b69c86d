//! Spans as an HTTP shop makes them.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use super::{Generator, Made, RecordId, Rng, int, scope, text};

const ROUTES: [&str; 8] = [
    "/api/v1/cart/{id}",
    "/api/v1/orders",
    "/api/v1/orders/{id}",
    "/api/v1/products/{id}",
    "/api/v1/products",
    "/api/v1/users/{id}/profile",
    "/healthz",
    "/api/v1/search",
];
const SPANS_PER_RESOURCE: usize = 10;

pub(super) fn request(generator: &mut Generator, now_unix_nano: u64, count: usize) -> Made<ExportTraceServiceRequest> {
    let mut ids = Vec::with_capacity(count);
    let mut resource_spans = Vec::new();
    while ids.len() < count {
        let resource = generator.pick_resource();
        let want = SPANS_PER_RESOURCE.min(count - ids.len());
        let mut spans = Vec::with_capacity(want);
        while spans.len() < want {
            trace(&mut generator.rng, now_unix_nano, want - spans.len(), &mut spans);
        }
        ids.extend(spans.iter().map(|span| RecordId::Span(span.span_id.as_slice().try_into().unwrap_or_default())));
        let scope_spans = vec![ScopeSpans { scope: Some(scope("shop.http")), spans, ..ScopeSpans::default() }];
        resource_spans.push(ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() });
    }
    Made { request: ExportTraceServiceRequest { resource_spans }, ids }
}

/// One trace of 1 to 12 spans, at most `room`.
fn trace(rng: &mut Rng, now_unix_nano: u64, room: usize, spans: &mut Vec<Span>) {
    let trace_id = rng.id::<16>();
    let mut parent = Vec::new();
    let mut start = now_unix_nano.saturating_sub(50_000_000 + rng.below(900_000_000));
    for _ in 0..(1 + rng.below(12) as usize).min(room) {
        start += rng.below(2_000_000);
        let span = span(rng, trace_id, &parent, start);
        parent.clone_from(&span.span_id);
        spans.push(span);
    }
}

fn span(rng: &mut Rng, trace_id: [u8; 16], parent: &[u8], start: u64) -> Span {
    let route = ROUTES[rng.below(ROUTES.len() as u64) as usize];
    let method = if rng.below(4) == 0 { "POST" } else { "GET" };
    let failed = rng.below(40) == 0;
    let attributes = vec![
        text("http.request.method", method),
        text("http.route", route),
        text("url.path", &route.replace("{id}", &rng.below(100_000).to_string())),
        text("url.scheme", "https"),
        int("http.response.status_code", if failed { 500 } else { 200 }),
        text("server.address", "shop.internal"),
        int("server.port", 8443),
        text("network.protocol.version", "1.1"),
        text("client.address", &format!("10.{}.{}.{}", rng.below(4), rng.below(256), rng.below(256))),
        text("user_agent.original", ["okhttp/4.12.0", "Go-http-client/2.0", "curl/8.5.0"][rng.below(3) as usize]),
        text("enduser.id", &format!("u-{:06}", rng.below(20_000))),
        int("http.response.body.size", rng.below(40_000) as i64),
    ];
    let duration = 200_000 + rng.below(80_000_000);
    let event = Event {
        time_unix_nano: start + duration / 2,
        name: "exception".to_owned(),
        attributes: vec![text("exception.type", "io.shop.Timeout"), text("exception.message", "upstream timed out")],
        ..Event::default()
    };
    let link = Link { trace_id: rng.id::<16>().to_vec(), span_id: rng.id::<8>().to_vec(), ..Link::default() };
    Span {
        trace_id: trace_id.to_vec(),
        span_id: rng.id::<8>().to_vec(),
        parent_span_id: parent.to_vec(),
        name: format!("{method} {route}"),
        kind: if parent.is_empty() { 2 } else { 3 },
        start_time_unix_nano: start,
        end_time_unix_nano: start + duration,
        attributes,
        events: if failed { vec![event] } else { Vec::new() },
        links: if rng.below(60) == 0 { vec![link] } else { Vec::new() },
        status: Some(Status { message: if failed { "timeout".to_owned() } else { String::new() }, code: if failed { 2 } else { 0 } }),
        flags: 0x101,
        ..Span::default()
    }
}
