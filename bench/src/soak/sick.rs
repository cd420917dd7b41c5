//! The participants that do not answer until they are healed.

use std::sync::Arc;

use tercet_proto::v1;
use tercet_proto::v1::participant_server::{self, ParticipantServer};
use tercet_sdk::Participant;
use tercet_sdk::initiator::Client;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::ledger::Ledger;
use crate::names::Sick;
use crate::participants::{attach_for_ever, register_http, serve, serve_http, with_ledger};
use crate::stage::Stage;
use crate::stream::{self, Reading};
use crate::trickle;

/// Silent connections that are kept open; older ones are closed.
const SILENT_CONNECTIONS: usize = 64;
/// Connections that wait to be accepted once the refusing participant listens.
const BACKLOG: u32 = 1024;

/// Starts all of them, sick, and waits until each is known.
pub(crate) async fn start(stage: &Arc<Stage>, client: &Client) -> anyhow::Result<()> {
    for sick in Sick::ALL {
        let ledger = Arc::clone(stage.ledger(sick));
        match sick {
            Sick::Hung => streamed(stage, ledger, Reading::Ignores)?,
            Sick::Deaf => streamed(stage, ledger, Reading::Stops)?,
            Sick::Silent => silent(stage, client, &ledger).await?,
            Sick::Refusing => refusing(stage, client, ledger).await?,
            Sick::Unavailable => unavailable(stage, client, &ledger).await?,
            Sick::Absent => absent(stage, client, &ledger).await?,
            Sick::Trickling => trickle::start(stage, ledger).await?,
        }
        client.wait_known(sick.name()).await?;
    }
    Ok(())
}

/// Waits until the sick are healed.
pub(crate) async fn healed(mut health: watch::Receiver<bool>) {
    // An error means that the program ends.
    let _ = health.wait_for(|healed| *healed).await;
}

/// Attaches, reads as it says, and is replaced by a healthy one.
fn streamed(stage: &Arc<Stage>, ledger: Arc<Ledger>, reading: Reading) -> anyhow::Result<()> {
    let healthy = with_ledger(&ledger)?;
    let (address, health) = (stage.address.clone(), stage.health());
    tokio::spawn(async move {
        tokio::select! {
            () = stream::attach_for_ever(&address, &ledger, reading) => {}
            () = healed(health) => attach_for_ever(healthy, &address),
        }
    });
    Ok(())
}

/// Accepts connections and says nothing; then serves on the same port.
async fn silent(stage: &Stage, client: &Client, ledger: &Arc<Ledger>) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    register_invoke(client, ledger.name, &listener.local_addr()?.to_string()).await?;
    let (participant, health) = (with_ledger(ledger)?, stage.health());
    tokio::spawn(async move {
        tokio::select! {
            () = accept(&listener) => {}
            () = healed(health) => {}
        }
        serve(listener, participant);
    });
    Ok(())
}

async fn accept(listener: &TcpListener) {
    let mut open: Vec<TcpStream> = Vec::new();
    loop {
        if let Ok((connection, _)) = listener.accept().await {
            if open.len() == SILENT_CONNECTIONS {
                open.remove(0);
            }
            open.push(connection);
        }
    }
}

/// Holds a port without listening, so that connections are refused; then serves on it.
async fn refusing(stage: &Stage, client: &Client, ledger: Arc<Ledger>) -> anyhow::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    register_http(client, &ledger, socket.local_addr()?).await?;
    let health = stage.health();
    tokio::spawn(async move {
        healed(health).await;
        match socket.listen(BACKLOG) {
            Ok(listener) => serve_http(listener, ledger),
            Err(error) => eprintln!("{}: {error}", ledger.name),
        }
    });
    Ok(())
}

/// Serves, and answers UNAVAILABLE until it is healed.
async fn unavailable(stage: &Stage, client: &Client, ledger: &Arc<Ledger>) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    register_invoke(client, ledger.name, &listener.local_addr()?.to_string()).await?;
    let service = Unavailable {
        participant: with_ledger(ledger)?,
        health: stage.health(),
    };
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(ParticipantServer::new(service))
            .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true))),
    );
    Ok(())
}

/// Attaches until it is known, and leaves; then comes back.
async fn absent(stage: &Stage, client: &Client, ledger: &Arc<Ledger>) -> anyhow::Result<()> {
    let (participant, address) = (with_ledger(ledger)?, stage.address.clone());
    let known = tokio::select! {
        () = stream::attach_for_ever(&address, ledger, Reading::Ignores) => Ok(()),
        known = client.wait_known(ledger.name) => known,
    };
    let health = stage.health();
    tokio::spawn(async move {
        healed(health).await;
        attach_for_ever(participant, &address);
    });
    Ok(known?)
}

async fn register_invoke(client: &Client, name: &str, address: &str) -> anyhow::Result<()> {
    let request = v1::RegisterRequest {
        participant: name.to_owned(),
        protocol: v1::Protocol::Invoke.into(),
        address: format!("http://{address}"),
        ..v1::RegisterRequest::default()
    };
    client.register(request).await?;
    Ok(())
}

struct Unavailable {
    participant: Participant,
    health: watch::Receiver<bool>,
}

impl Unavailable {
    fn check(&self) -> Result<(), Status> {
        if *self.health.borrow() {
            return Ok(());
        }
        Err(Status::unavailable("out of order"))
    }
}

#[tonic::async_trait]
impl participant_server::Participant for Unavailable {
    async fn invoke(&self, request: Request<v1::Call>) -> Result<Response<v1::Result>, Status> {
        self.check()?;
        let result = self.participant.call(request.into_inner()).await;
        Ok(Response::new(result))
    }

    async fn check_back(
        &self,
        request: Request<v1::CheckBackCall>,
    ) -> Result<Response<v1::CheckBackResult>, Status> {
        self.check()?;
        let result = self.participant.answer_check_back(request.into_inner());
        Ok(Response::new(result.await))
    }
}
