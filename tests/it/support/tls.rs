//! TLS in front of a loopback server: an authority that issues certificates of every sort, and the front itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A certificate authority.
pub(crate) struct Authority {
    /// Its own certificate, in PEM.
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, in PEM.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        let name = format!("authority {}", NEXT.fetch_add(1, Ordering::Relaxed));
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = parameters.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(parameters, key) }
    }

    /// A certificate for these names.
    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        self.signed(parameters(names))
    }

    /// A certificate for these names that ended long ago.
    pub(crate) fn expired(&self, names: &[&str]) -> Issued {
        let mut parameters = parameters(names);
        parameters.not_before = date_time_ymd(2001, 1, 1);
        parameters.not_after = date_time_ymd(2002, 1, 1);
        self.signed(parameters)
    }

    fn signed(&self, parameters: CertificateParams) -> Issued {
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap().pem();
        Issued { certificate, key: key.serialize_pem() }
    }
}

/// A certificate that is its own issuer.
pub(crate) fn self_signed(names: &[&str]) -> Issued {
    let key = KeyPair::generate().unwrap();
    Issued { certificate: parameters(names).self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

fn parameters(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap()
}

/// A listener that speaks TLS and hands on what is in it; ends when dropped.
pub(crate) struct TlsFront {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// How a front treats a client whose certificate it does not like.
#[derive(Clone, Copy)]
enum Manner {
    /// It sends an alert and waits until the client is gone.
    Polite,
    /// It closes at once, as Go's servers do: the client's bytes that nobody has read reset the connection, and the
    /// alert is lost.
    Abrupt,
}

impl TlsFront {
    /// Stands before `backend` (`host:port`). With `clients`, only whoever has a certificate of theirs comes in.
    pub(crate) async fn start(backend: String, own: &Issued, clients: Option<&Authority>) -> Self {
        Self::start_as(Manner::Polite, backend, own, clients).await
    }

    /// Stands before `backend` and turns away whoever has no certificate of `clients`, without a word.
    pub(crate) async fn start_abrupt(backend: String, own: &Issued, clients: &Authority) -> Self {
        Self::start_as(Manner::Abrupt, backend, own, Some(clients)).await
    }

    async fn start_as(manner: Manner, backend: String, own: &Issued, clients: Option<&Authority>) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(server_config(own, clients)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let (acceptor, backend) = (acceptor.clone(), backend.clone());
                tokio::spawn(async move { pass(stream, &acceptor, &backend, manner).await });
            }
        });
        Self { address, connections, task }
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `localhost:port`: a name, since certificates are for names.
    pub(crate) fn domain(&self) -> String {
        format!("localhost:{}", self.address.port())
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(stream: TcpStream, acceptor: &TlsAcceptor, backend: &str, manner: Manner) {
    match acceptor.accept(stream).into_fallible().await {
        Ok(mut inside) => {
            let mut behind = TcpStream::connect(backend).await.unwrap();
            // Either side may go away first.
            let _ = copy_bidirectional(&mut inside, &mut behind).await;
        }
        Err((_, stream)) if matches!(manner, Manner::Abrupt) => stream.set_zero_linger().unwrap(),
        Err((_, mut stream)) => {
            // What the client still sends is read, so that our alert reaches it before any reset does.
            let mut rest = Vec::new();
            let _ = tokio::time::timeout(std::time::Duration::from_secs(2), stream.read_to_end(&mut rest)).await;
        }
    }
}

fn server_config(own: &Issued, clients: Option<&Authority>) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let chain = vec![CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
    builder.with_single_cert(chain, key).unwrap()
}
