//! What was told of a pipeline's sources as a page for people: a label and what belongs to it, line by line.

use karez_api::Json;

/// Width of labels.
const LABEL: usize = 12;

pub(super) fn lines(told: &Json) -> Vec<String> {
    let mut lines = Vec::new();
    let sources = list(&told["sources"]);
    for source in sources {
        let several = sources.len() > 1 || source["source"] != "source";
        let of = match several {
            true => format!("{}.{}", text(&told["pipeline"]), text(&source["source"])),
            false => text(&told["pipeline"]),
        };
        let scheduled = match &source["schedule"] {
            Json::Null => "no schedule: read once, to the end".to_owned(),
            times => format!("next {}", list(times).iter().map(text).collect::<Vec<_>>().join(", ")),
        };
        lines.push(format!("{of} ({})", text(&source["kind"])));
        labelled(&mut lines, "connection", connection(source));
        labelled(&mut lines, "schedule", scheduled);
        for stream in list(&source["streams"]) {
            lines.push(String::new());
            of_stream(stream, &mut lines);
        }
        if !source["tried"].is_null() {
            lines.push(String::new());
            of_try(&source["tried"], &mut lines);
        }
    }
    lines
}

fn connection(source: &Json) -> String {
    let connection = &source["connection"];
    let mut parts = vec![text(&connection["name"])];
    parts.extend(connection["url"].as_str().filter(|url| *url != parts[0]).map(str::to_owned));
    parts.extend(list(&connection["quotas"]).iter().map(|quota| format!("at most {}", text(quota))));
    if !connection["concurrency"].is_null() {
        parts.push(format!("{} calls at once", text(&connection["concurrency"])));
    }
    parts.join(", ")
}

fn of_stream(stream: &Json, lines: &mut Vec<String>) {
    let run = match (stream["run"]["number"].as_u64(), stream["run"]["resumed"] == true) {
        (Some(number), true) => format!("run {number} goes on"),
        (Some(number), false) => format!("run {number}"),
        (None, _) => String::new(),
    };
    lines.push(format!("stream {}  {run}", text(&stream["stream"])).trim_end().to_owned());
    if !stream["problem"].is_null() {
        return labelled(lines, "problem", text(&stream["problem"]));
    }
    labelled(lines, "begins", text(&stream["begins"]["text"]));
    if !stream["windows"].is_null() {
        labelled(lines, "windows", windows(&stream["windows"]));
    }
    labelled(lines, "partitions", partitions(&stream["partitions"]));
    let request = &stream["request"];
    let target = request["target"].as_str().or(request["template"].as_str()).unwrap_or_default();
    labelled(lines, "request", format!("{} {target}", text(&request["method"])));
    for part in ["body", "form"].iter().filter(|part| !request[**part].is_null()) {
        labelled(lines, part, text(&request[*part]));
    }
    labelled(lines, "paging", format!("{}, at most {} pages", text(&stream["paging"]), stream["max_pages"]));
    for rule in list(&stream["errors"]) {
        labelled(lines, "on", text(rule));
    }
    if let Some(least) = stream["expect"]["min_records"].as_u64() {
        let drop = stream["expect"]["max_drop_pct"].as_u64();
        let drop = drop.map(|most| format!(", at most {most} % below the usual")).unwrap_or_default();
        labelled(lines, "expects", format!("at least {least} records{drop}"));
    }
}

fn windows(windows: &Json) -> String {
    let ends = |window: &Json| match (&window[0], &window[1]) {
        (Json::Null, Json::Null) => "without ends".to_owned(),
        (Json::Null, to) => format!("up to {}", text(to)),
        (from, Json::Null) => format!("from {}", text(from)),
        (from, to) => format!("{} to {}", text(from), text(to)),
    };
    let first = ends(&windows["first"]);
    match windows["count"].as_u64() {
        Some(count) if count > 1 => {
            format!("{count} of {}: {first}, …, {}", text(&windows["step"]), ends(&windows["last"]))
        }
        _ => format!("1: {first}"),
    }
}

fn partitions(partitions: &Json) -> String {
    if partitions.is_null() {
        return "none".to_owned();
    }
    let mut told = match partitions["values"].as_array() {
        Some(values) => {
            format!("each of {}", values.iter().map(text).collect::<Vec<_>>().join(", "))
        }
        None => {
            let keys = list(&partitions["key"]).iter().map(text).collect::<Vec<_>>().join(", ");
            let which = if partitions["changed_only"] == true { "changed record" } else { "record" };
            let when = partitions["when"].as_str().map(|when| format!(", where {when}")).unwrap_or_default();
            format!("each {which} of {} (by {keys}){when}", text(&partitions["stream"]))
        }
    };
    if let Some(saved) = partitions["saved"].as_u64().filter(|saved| *saved > 0) {
        told.push_str(&format!("; {saved} are known"));
        if let (Some(first), Some(last)) = (partitions["marks"][0].as_str(), partitions["marks"][1].as_str())
        {
            told.push_str(&format!(", read up to {first} at least, {last} at most"));
        }
    }
    told
}

fn of_try(tried: &Json, lines: &mut Vec<String>) {
    lines.push("tried  nothing is saved".to_owned());
    for exchange in list(&tried["exchanges"]) {
        let request = format!("{} {}", text(&exchange["method"]), text(&exchange["target"]));
        labelled(lines, "sent", request);
        if !exchange["request"].is_null() {
            labelled(lines, "body", text(&exchange["request"]));
        }
        labelled(lines, "answer", text(&exchange["status"]));
        for (name, value) in exchange["headers"].as_object().into_iter().flatten() {
            labelled(lines, "", format!("{name}: {}", text(value)));
        }
        let body = text(&exchange["body"]);
        if !body.is_empty() {
            labelled(lines, "", body);
        }
    }
    if !tried["problem"].is_null() {
        return labelled(lines, "problem", text(&tried["problem"]));
    }
    let lane = tried["lane"].as_str().map(|lane| format!(" of {lane}")).unwrap_or_default();
    labelled(lines, "records", format!("{}{lane}", tried["records"]));
    for record in list(&tried["first"]) {
        labelled(lines, "", record.to_string());
    }
    if !tried["position"].is_null() {
        labelled(lines, "would save", text(&tried["position"]));
    }
}

fn labelled(lines: &mut Vec<String>, label: &str, what: String) {
    lines.push(format!("  {label:<LABEL$}{what}"));
}

fn list(value: &Json) -> &[Json] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
