//! `tercet participants`.

use clap::{Args, Subcommand, ValueEnum};
use tercet_proto::v1::{self, participants_client::ParticipantsClient};

use crate::{
    client::{Coordinator, MESSAGE_BYTES, refused, request},
    failure::{CommandResult, Failure},
    json, print, words,
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
    /// Say how a participant that does not attach is called.
    Register(Register),
}

#[derive(Clone, Copy, ValueEnum)]
enum Protocol {
    Invoke,
    Grpc,
    Http,
}

#[derive(Args)]
struct Register {
    /// Its name.
    participant: String,
    /// Where it is called: `http://host:port`.
    #[arg(long)]
    address: String,
    /// How: tercet.v1.Participant/Invoke, any unary gRPC method, or HTTP POST.
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
    let message = v1::ListParticipantsRequest {};
    let found = client
        .list(request(message))
        .await
        .map_err(refused)?
        .into_inner();
    if as_json {
        let all: Vec<_> = found.participants.iter().map(json::participant).collect();
        print(&format!("{}\n", serde_json::json!({ "participants": all })))?;
        return Ok(0);
    }
    let rows: Vec<_> = found
        .participants
        .iter()
        .map(|view| {
            vec![
                words::plain(&view.participant),
                words::short(view.protocol().as_str_name(), "PROTOCOL_").to_owned(),
                view.attached.to_string(),
                view.calls_open.to_string(),
                view.calls_waiting.to_string(),
                words::plain(&view.address),
            ]
        })
        .collect();
    let head = [
        "PARTICIPANT",
        "PROTOCOL",
        "ATTACHED",
        "OPEN",
        "WAITING",
        "ADDRESS",
    ];
    print(&words::table(&head, &rows, ""))?;
    Ok(0)
}

async fn register(mut client: Client, wanted: Register, as_json: bool) -> CommandResult {
    let name = wanted.participant.clone();
    let protocol = match wanted.protocol {
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
    let reply: Result<_, Failure> = client.register(request(message)).await.map_err(refused);
    let version = reply?.into_inner().version;
    if as_json {
        print(&format!(
            "{}\n",
            serde_json::json!({ "participant": name, "version": version })
        ))?;
    } else {
        print(&format!(
            "{} is registered (version {version})\n",
            words::plain(&name)
        ))?;
    }
    Ok(0)
}
