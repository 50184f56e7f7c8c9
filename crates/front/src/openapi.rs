//! The operations for programs (OpenAPI 3.1) and for people (a plain page), both from the one table.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::arguments::{Argument, Kind};
use crate::operation::{OPERATIONS, Operation, Work};

/// The OpenAPI document.
pub(crate) fn document() -> Value {
    let mut paths = Map::new();
    for operation in OPERATIONS.iter().filter(|operation| !is_stream(operation)) {
        paths.insert(format!("/api/1/{}", operation.name), json!({"post": described(operation)}));
    }
    paths.insert(
        "/api/1/ws".to_owned(),
        json!({"get": {
            "operationId": "ws",
            "summary": "All operations, live queries and signals on one WebSocket.",
            "description": "Subprotocols `driftless.1` and `bearer.TOKEN`. Client: {\"id\", \"op\", \"args\"}. Server: {\"id\", \"ok\"}, \
                            {\"id\", \"error\"}, {\"id\", \"event\"}, {\"id\", \"end\": true}, {\"signal\": \"document.changed\", ..}.",
            "responses": {"101": {"description": "It is a WebSocket from here on."}},
        }}),
    );
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "driftless",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "A database on this machine, for pages and programs. docs/front.md in the sources says everything.",
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Error": {
                "type": "object",
                "properties": {"error": {
                    "type": "object",
                    "properties": {
                        "code": {"type": "string"},
                        "message": {"type": "string"},
                        "hint": {"type": "string"},
                    },
                    "required": ["code", "message", "hint"],
                }},
                "required": ["error"],
            }},
        },
    })
}

fn is_stream(operation: &Operation) -> bool {
    matches!(operation.work, Work::Watch | Work::Events)
}

fn described(operation: &Operation) -> Value {
    let required: Vec<&str> = operation.arguments.iter().filter(|it| it.required).map(|it| it.name).collect();
    let properties: Map<String, Value> = operation
        .arguments
        .iter()
        .map(|argument| (argument.name.to_owned(), argument_schema(argument)))
        .collect();
    let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    let both = |schema: Value| json!({"application/json": {"schema": schema}, "application/cbor": {"schema": schema}});
    let failed = json!({
        "description": "It was not done.",
        "content": both(json!({"$ref": "#/components/schemas/Error"})),
    });
    json!({
        "operationId": operation.name,
        "summary": operation.about,
        "requestBody": {"required": !required.is_empty(), "content": both(schema)},
        "responses": {
            "200": {"description": operation.answer, "content": both(answer_schema(operation.answer))},
            "default": failed,
        },
    })
}

fn argument_schema(argument: &Argument) -> Value {
    let mut schema = match argument.kind {
        Kind::Text => json!({"type": "string"}),
        Kind::Number => json!({"type": "integer", "minimum": 0}),
        Kind::Flag => json!({"type": "boolean"}),
        Kind::Id => json!({"type": ["string", "integer", "array", "object"]}),
        Kind::Object => json!({"type": "object"}),
        Kind::Moment => json!({"type": ["string", "integer"]}),
    };
    schema["description"] = json!(argument.about);
    schema
}

// `{field: type, ..}`, `[..]` of it; other words are some JSON.
fn answer_schema(answer: &str) -> Value {
    if let Some(inner) = answer.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return json!({"type": "array", "items": answer_schema(inner)});
    }
    let Some(inner) = answer.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        return match answer {
            "the documents" => json!({"type": "array", "items": {"type": "object"}}),
            _ => json!({"type": "object"}),
        };
    };
    let mut properties = Map::new();
    for (name, kind) in inner.split(", ").filter_map(|field| field.split_once(": ")) {
        properties.insert(name.to_owned(), field_schema(kind));
    }
    json!({"type": "object", "properties": properties})
}

fn field_schema(kind: &str) -> Value {
    if let Some(inner) = kind.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return json!({"type": "array", "items": field_schema(inner)});
    }
    let (kind, null) = kind.strip_suffix('?').map_or((kind, false), |kind| (kind, true));
    let kinds: &[&str] = match kind {
        "text" => &["string"],
        "number" => &["number"],
        "flag" => &["boolean"],
        "id" => &["string", "integer", "array", "object"],
        _ => &["object"],
    };
    let kinds = kinds.iter().copied().chain(null.then_some("null"));
    json!({"type": kinds.collect::<Vec<_>>()})
}

/// The page.
pub(crate) fn page() -> String {
    let mut page = String::from(HEAD);
    for operation in OPERATIONS {
        let name = operation.name;
        let stream = if is_stream(operation) { " <small>stream, WebSocket only</small>" } else { "" };
        let _ = write!(
            page,
            "<h2 id=\"{name}\"><code>{name}</code>{stream}</h2>\n<p>{}</p>\n",
            escaped(operation.about)
        );
        if !operation.arguments.is_empty() {
            page.push_str("<dl>\n");
            for argument in operation.arguments {
                let left_out = if argument.required { "" } else { " (may be left out)" };
                let _ = writeln!(
                    page,
                    "<dt><code>{}</code>{left_out}</dt><dd>{}</dd>",
                    argument.name,
                    escaped(argument.about)
                );
            }
            page.push_str("</dl>\n");
        }
        let _ = writeln!(page, "<p>Gives <code>{}</code></p>", escaped(operation.answer));
    }
    page.push_str("</main>\n</html>\n");
    page
}

const HEAD: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>driftless: \
operations</title>\n<main>\n<h1>Operations</h1>\n<p><code>POST /api/1/OPERATION</code> with an object of arguments as JSON or \
CBOR and <code>Authorization: Bearer TOKEN</code>; or <code>{\"id\": 1, \"op\": \"OPERATION\", \"args\": {}}</code> on the \
WebSocket <code>/api/1/ws</code> with the subprotocols <code>driftless.1</code> and <code>bearer.TOKEN</code>. For programs: \
<a href=\"/openapi.json\">openapi.json</a>.</p>\n";

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_name_every_operation() {
        let (document, page) = (document(), page());
        for operation in OPERATIONS {
            assert!(page.contains(&format!("id=\"{}\"", operation.name)));
            let described = &document["paths"][format!("/api/1/{}", operation.name)]["post"];
            assert_eq!(described.is_null(), is_stream(operation), "{}", operation.name);
        }
        let find = &document["paths"]["/api/1/find"]["post"];
        let arguments = &find["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(arguments["required"], json!(["space", "collection"]));
        let answer = &document["paths"]["/api/1/peers"]["post"]["responses"]["200"]["content"]["application/json"]
            ["schema"];
        assert_eq!(answer["items"]["properties"]["last_sync"], json!({"type": ["number", "null"]}));
    }
}
