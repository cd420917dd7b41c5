//! `tercet participants`.

use std::fmt::Write as _;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use tercet_proto::v1::{self, participants_client::ParticipantsClient};
use tercet_server::bounds;

use crate::{
    client::{Coordinator, MESSAGE_BYTES, refused, request},
    failure::CommandResult,
    json, print,
    table::{self, Column},
    words,
};

#[derive(Args)]
pub(crate) struct ParticipantsArgs {
    #[command(flatten)]
    coordinator: Coordinator,
    /// Print JSON, for scripts.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: ParticipantsCommand,
}

#[derive(Subcommand)]
enum ParticipantsCommand {
    /// List the participants that are known.
    List,
    /// Say how a participant is called. This replaces what was registered of it before, as a whole.
    Register(Register),
}

#[derive(Clone, Copy, ValueEnum)]
enum Protocol {
    Attach,
    Invoke,
    Grpc,
    Http,
}

#[derive(Args)]
struct Register {
    /// Its name.
    participant: String,
    /// Where it is called: `http://host:port`; left out for one that attaches.
    #[arg(long, default_value = "", hide_default_value = true)]
    address: String,
    /// How: tercet.v1.Participant/Invoke, any unary gRPC method, HTTP POST, or not at all: it attaches.
    #[arg(long, value_enum)]
    protocol: Protocol,
    /// The methods of one handler: HANDLER=TRY,CONFIRM,CANCEL, each one empty or /package.Service/Method
    /// (gRPC) or a path (HTTP); may be given several times.
    #[arg(long = "method", value_name = "HANDLER=TRY,CONFIRM,CANCEL", value_parser = methods)]
    methods: Vec<v1::Methods>,
    /// The method or path that answers a check-back.
    #[arg(long, default_value = "", hide_default_value = true)]
    check_back: String,
    /// Calls made to it at once; 0: the default.
    #[arg(long, default_value_t = 0)]
    concurrency: u32,
}

fn methods(text: &str) -> Result<v1::Methods, String> {
    let usage = || "give HANDLER=TRY,CONFIRM,CANCEL; leave empty what it does not have".to_owned();
    let (handler, methods) = text.split_once('=').ok_or_else(usage)?;
    let parts: Vec<_> = methods.split(',').collect();
    let [attempt, confirm, cancel] = parts.as_slice() else {
        return Err(usage());
    };
    Ok(v1::Methods {
        handler: handler.to_owned(),
        r#try: (*attempt).to_owned(),
        confirm: (*confirm).to_owned(),
        cancel: (*cancel).to_owned(),
    })
}

pub(crate) async fn run(args: ParticipantsArgs) -> CommandResult {
    let channel = args.coordinator.connect().await?;
    let client = ParticipantsClient::new(channel).max_decoding_message_size(MESSAGE_BYTES);
    match args.command {
        ParticipantsCommand::List => list(client, args.json).await,
        ParticipantsCommand::Register(wanted) => register(client, wanted, args.json).await,
    }
}

type Client = ParticipantsClient<tonic::transport::Channel>;

async fn list(mut client: Client, as_json: bool) -> CommandResult {
    let mut message = v1::ListParticipantsRequest {
        page_size: bounds::PAGE_MAX,
        ..v1::ListParticipantsRequest::default()
    };
    let mut found = Vec::new();
    loop {
        let page = client
            .list(request(message.clone()))
            .await
            .map_err(refused)?
            .into_inner();
        found.extend(page.participants);
        message.cursor = page.next_cursor;
        if message.cursor.is_empty() {
            break;
        }
    }
    if as_json {
        let all: Vec<_> = found.iter().map(json::participant).collect();
        print(&format!("{}\n", json!({ "participants": all })))?;
        return Ok(0);
    }
    let rows: Vec<_> = found.iter().map(row).collect();
    print(&table::table(&COLUMNS, &rows, "", table::width()))?;
    for view in found.iter().filter(|view| !view.unreadable.is_empty()) {
        let (name, what) = (
            words::plain(&view.participant),
            words::plain(&view.unreadable),
        );
        print(&format!(
            "the row of {name} in participant_info cannot be read: {what}\n"
        ))?;
    }
    Ok(0)
}

/// The columns of the list.
const COLUMNS: [Column; 9] = [
    Column::whole("PARTICIPANT").cut_to(20),
    Column::whole("PROTOCOL"),
    Column::whole("ATTACHED"),
    Column::whole("OPEN"),
    Column::whole("WAITING"),
    Column::whole("AT ONCE").leaves(3),
    Column::whole("ADDRESS").cut_to(24),
    Column::whole("HANDLERS").cut_to(12).leaves(2),
    Column::whole("CHECK-BACK").cut_to(12).leaves(1),
];

fn row(view: &v1::ParticipantView) -> Vec<String> {
    let at_once = match (view.protocol(), view.concurrency) {
        // Each of its streams has its own.
        (v1::Protocol::Attach, _) => String::new(),
        (_, 0) => bounds::CONCURRENCY_DEFAULT.to_string(),
        (_, given) => given.to_string(),
    };
    let methods = view.methods.iter().map(|it| it.handler.as_str());
    let said = view.handlers.iter().map(|it| it.name.as_str());
    let mut handlers: Vec<_> = methods.chain(said).collect();
    // One that answers several modes is there several times.
    handlers.dedup();
    let protocol = if view.unreadable.is_empty() {
        words::short(view.protocol().as_str_name(), "PROTOCOL_")
    } else {
        "UNREADABLE"
    };
    let check_back = if view.answers_check_back {
        "yes"
    } else {
        &view.check_back
    };
    vec![
        words::plain(&view.participant),
        protocol.to_owned(),
        view.attached.to_string(),
        view.calls_open.to_string(),
        view.calls_waiting.to_string(),
        at_once,
        words::plain(&view.address),
        words::plain(&handlers.join(", ")),
        words::plain(check_back),
    ]
}

async fn register(mut client: Client, wanted: Register, as_json: bool) -> CommandResult {
    let name = wanted.participant.clone();
    let protocol = match wanted.protocol {
        Protocol::Attach => v1::Protocol::Attach,
        Protocol::Invoke => v1::Protocol::Invoke,
        Protocol::Grpc => v1::Protocol::Grpc,
        Protocol::Http => v1::Protocol::Http,
    };
    let message = v1::RegisterRequest {
        participant: wanted.participant,
        protocol: protocol.into(),
        address: wanted.address,
        methods: wanted.methods,
        check_back: wanted.check_back,
        concurrency: wanted.concurrency,
    };
    let reply = client
        .register(request(message.clone()))
        .await
        .map_err(refused)?
        .into_inner();
    let version = reply.version;
    if as_json {
        let replaced = reply.replaced.as_ref().map(json::registration);
        let whole = json!({ "participant": name, "version": version, "replaced": replaced });
        print(&format!("{whole}\n"))?;
        return Ok(0);
    }
    let mut text = format!(
        "{} is registered (version {version})\n",
        words::plain(&name)
    );
    if let Some(replaced) = reply.replaced.filter(|replaced| *replaced != message) {
        let _ = writeln!(text, "  before: {}", described(&replaced));
        let _ = writeln!(text, "  now:    {}", described(&message));
    }
    print(&text)?;
    Ok(0)
}

/// Returns the options that register a participant like this.
fn described(registration: &v1::RegisterRequest) -> String {
    let protocol = words::short(registration.protocol().as_str_name(), "PROTOCOL_");
    let mut text = format!("--protocol {}", protocol.to_lowercase());
    if !registration.address.is_empty() {
        let _ = write!(text, " --address {}", registration.address);
    }
    for v1::Methods {
        handler,
        r#try,
        confirm,
        cancel,
    } in &registration.methods
    {
        let _ = write!(text, " --method {handler}={try},{confirm},{cancel}");
    }
    if !registration.check_back.is_empty() {
        let _ = write!(text, " --check-back {}", registration.check_back);
    }
    if registration.concurrency > 0 {
        let _ = write!(text, " --concurrency {}", registration.concurrency);
    }
    words::plain(&text)
}
