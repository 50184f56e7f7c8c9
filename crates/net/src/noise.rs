//! `Noise_XX_25519_ChaChaPoly_BLAKE2s`, and who is at the other end of it. Bytes in, bytes out: no sockets.
//!
//! The Noise keys are made anew by each process and prove nothing. After the three messages the listener, then the
//! dialer seals its *proof*: its peer id, its node key's signature over (role, handshake hash), and the encodings it
//! reads. The hash is of everything both sides said, so in between nobody can pass on the proof of another; the role
//! keeps a side from being shown its own. The dialer speaks second, and so names itself only to the peer it meant.

use std::sync::{Arc, LazyLock};

use driftless_core::id::PeerId;
use driftless_core::sign::{NodeKey, Signature, verify_node};
use snow::params::NoiseParams;
use snow::{Builder, HandshakeState, StatelessTransportState};

use crate::compression::Encodings;
use crate::transport::NetError;

static PARAMETERS: LazyLock<NoiseParams> =
    LazyLock::new(|| "Noise_XX_25519_ChaChaPoly_BLAKE2s".parse().expect("a fixed, valid name"));

/// Both sides mix it into the hash: two that speak different versions do not understand each other.
const PROLOGUE: &[u8] = b"driftless/net/1\0";
/// Bytes that sealing adds.
const TAG: usize = 16;
/// Bytes of the largest record; Noise allows no more.
pub(crate) const MAX_RECORD: usize = 65_535;
/// Bytes of payload in the largest record.
pub(crate) const MAX_PAYLOAD: usize = MAX_RECORD - TAG;
/// Bytes of a proof: peer id, signature, encodings.
const PROOF: usize = 32 + 64 + 1;

/// The secret half of the Noise key of this process.
pub(crate) struct ProcessKey(Vec<u8>);

impl ProcessKey {
    /// A new one. Panics when the system has no random numbers: nothing could be kept secret then.
    pub(crate) fn generate() -> Self {
        let pair = Builder::new(PARAMETERS.clone()).generate_keypair();
        Self(pair.expect("the system's source of random numbers works").private)
    }
}

/// Which end of a connection this is. The numbers are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Dialer = 0,
    Listener = 1,
}

impl Role {
    fn other(self) -> Self {
        match self {
            Self::Dialer => Self::Listener,
            Self::Listener => Self::Dialer,
        }
    }
}

/// The three messages: the dialer writes, reads, writes; the listener the other way round.
pub(crate) struct Handshake {
    state: HandshakeState,
    role: Role,
}

impl Handshake {
    pub(crate) fn new(role: Role, key: &ProcessKey) -> Result<Self, NetError> {
        let builder = Builder::new(PARAMETERS.clone()).prologue(PROLOGUE);
        let builder = builder.and_then(|builder| builder.local_private_key(&key.0));
        let state = builder.and_then(|builder| match role {
            Role::Dialer => builder.build_initiator(),
            Role::Listener => builder.build_responder(),
        });
        Ok(Self { state: state.map_err(|_| BROKEN)?, role })
    }

    /// The next message to send.
    pub(crate) fn write(&mut self) -> Result<Vec<u8>, NetError> {
        // The largest of the three is 96 bytes: two keys and two tags.
        let mut message = vec![0; 128];
        let length = self.state.write_message(&[], &mut message).map_err(|_| BROKEN)?;
        message.truncate(length);
        Ok(message)
    }

    /// Takes the other side's next message.
    pub(crate) fn read(&mut self, message: &[u8]) -> Result<(), NetError> {
        // Nothing travels inside these messages.
        let length = self.state.read_message(message, &mut vec![0; message.len()]).map_err(|_| BROKEN)?;
        if length == 0 { Ok(()) } else { Err(BROKEN) }
    }

    /// After the third message: keys for both directions, with nobody proven yet.
    pub(crate) fn finish(self) -> Result<Channel, NetError> {
        let hash = self.state.get_handshake_hash().to_vec();
        let keys = Arc::new(self.state.into_stateless_transport_mode().map_err(|_| BROKEN)?);
        Ok(Channel {
            role: self.role,
            hash,
            sealer: Sealer { keys: keys.clone(), nonce: 0 },
            opener: Opener { keys, nonce: 0 },
        })
    }
}

const BROKEN: NetError = NetError::Protocol("a handshake that cannot be understood");

/// A confidential channel with somebody.
pub(crate) struct Channel {
    role: Role,
    hash: Vec<u8>,
    pub(crate) sealer: Sealer,
    pub(crate) opener: Opener,
}

impl Channel {
    /// The sealed record that proves `key` to the other side.
    pub(crate) fn prove(&mut self, key: &NodeKey) -> Result<Vec<u8>, NetError> {
        let signature = key.prove(&[&[self.role as u8], &self.hash]);
        let encodings = [Encodings::ours().0];
        self.sealer.seal(&[key.id().as_bytes().as_slice(), &signature.0, &encodings].concat())
    }

    /// Who is at the other end, by the record that it sealed, and what it reads.
    pub(crate) fn verify(&mut self, record: &[u8]) -> Result<(PeerId, Encodings), NetError> {
        let proof = self.opener.open(record).map_err(|_| NetError::Proof)?;
        let proof: [u8; PROOF] = proof.try_into().map_err(|_| NetError::Proof)?;
        let (peer, rest) = proof.split_first_chunk().ok_or(NetError::Proof)?;
        let (signature, rest) = rest.split_first_chunk().ok_or(NetError::Proof)?;
        let [encodings] = rest else { return Err(NetError::Proof) };
        let peer = PeerId(*peer);
        if !verify_node(&peer, &[&[self.role.other() as u8], &self.hash], &Signature(*signature)) {
            return Err(NetError::Proof);
        }
        Ok((peer, Encodings(*encodings)))
    }
}

/// Encrypts records in one direction. There is one of it, so no nonce is used twice.
pub(crate) struct Sealer {
    keys: Arc<StatelessTransportState>,
    nonce: u64,
}

impl Sealer {
    /// The record that carries `payload`, at most `MAX_PAYLOAD` bytes.
    pub(crate) fn seal(&mut self, payload: &[u8]) -> Result<Vec<u8>, NetError> {
        let mut record = vec![0; payload.len() + TAG];
        let sealed = self.keys.write_message(self.nonce, payload, &mut record);
        let length = sealed.map_err(|_| NetError::Protocol("a record that cannot be sealed"))?;
        // Noise reserves the last nonce; nobody sends 2^64 records.
        self.nonce = self.nonce.checked_add(1).ok_or(NetError::Closed)?;
        record.truncate(length);
        Ok(record)
    }
}

/// Decrypts records in one direction, each once and in the order in which they were sealed.
pub(crate) struct Opener {
    keys: Arc<StatelessTransportState>,
    nonce: u64,
}

impl Opener {
    /// The payload of the next record.
    pub(crate) fn open(&mut self, record: &[u8]) -> Result<Vec<u8>, NetError> {
        let mut payload = vec![0; record.len()];
        let opened = self.keys.read_message(self.nonce, record, &mut payload);
        let length = opened.map_err(|_| NetError::Protocol("a record that was altered on its way"))?;
        self.nonce = self.nonce.checked_add(1).ok_or(NetError::Closed)?;
        payload.truncate(length);
        Ok(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> NodeKey {
        NodeKey::from_seed(&[byte; 32])
    }

    // Two ends whose three messages have been carried to each other.
    fn channels() -> (Channel, Channel) {
        let mut dialer = Handshake::new(Role::Dialer, &ProcessKey::generate()).unwrap();
        let mut listener = Handshake::new(Role::Listener, &ProcessKey::generate()).unwrap();
        listener.read(&dialer.write().unwrap()).unwrap();
        dialer.read(&listener.write().unwrap()).unwrap();
        listener.read(&dialer.write().unwrap()).unwrap();
        (dialer.finish().unwrap(), listener.finish().unwrap())
    }

    #[test]
    fn both_ends_learn_who_the_other_is_and_talk() {
        let (mut dialer, mut listener) = channels();
        let proof = listener.prove(&key(2)).unwrap();
        assert_eq!(dialer.verify(&proof), Ok((key(2).id(), Encodings::ours())));
        let proof = dialer.prove(&key(1)).unwrap();
        assert_eq!(listener.verify(&proof), Ok((key(1).id(), Encodings::ours())));
        for payload in [&b""[..], b"hello", &[7; MAX_PAYLOAD]] {
            let record = dialer.sealer.seal(payload).unwrap();
            assert_eq!(record.len(), payload.len() + TAG);
            assert_eq!(listener.opener.open(&record).unwrap(), payload);
        }
        assert!(dialer.sealer.seal(&[7; MAX_PAYLOAD + 1]).is_err());
    }

    #[test]
    fn somebody_in_between_cannot_pass_on_the_proof_of_another() {
        // Mallory is the listener to the dialer and the dialer to the listener, and re-seals what each of them sealed.
        let (mut dialer, mut mallory_listening) = channels();
        let (mut mallory_dialing, mut listener) = channels();
        let proof = listener.prove(&key(2)).unwrap();
        let payload = mallory_dialing.opener.open(&proof).unwrap();
        let passed_on = mallory_listening.sealer.seal(&payload).unwrap();
        assert_eq!(dialer.verify(&passed_on), Err(NetError::Proof));
        let proof = dialer.prove(&key(1)).unwrap();
        let payload = mallory_listening.opener.open(&proof).unwrap();
        let passed_on = mallory_dialing.sealer.seal(&payload).unwrap();
        assert_eq!(listener.verify(&passed_on), Err(NetError::Proof));
    }

    #[test]
    fn a_side_that_is_shown_its_own_proof_is_not_fooled() {
        let (mut dialer, mut listener) = channels();
        let proof = dialer.prove(&key(1)).unwrap();
        let payload = listener.opener.open(&proof).unwrap();
        let reflected = listener.sealer.seal(&payload).unwrap();
        assert_eq!(dialer.verify(&reflected), Err(NetError::Proof));
    }

    #[test]
    fn another_identity_with_somebody_elses_signature_proves_nothing() {
        let (mut dialer, mut listener) = channels();
        let signature = key(3).prove(&[&[Role::Listener as u8], &listener.hash]);
        let swapped = [key(2).id().as_bytes().as_slice(), &signature.0, &[0]].concat();
        let record = listener.sealer.seal(&swapped).unwrap();
        assert_eq!(dialer.verify(&record), Err(NetError::Proof));
    }

    #[test]
    fn a_proof_that_is_short_long_or_altered_proves_nothing() {
        for length in [0, 1, PROOF - 1, PROOF + 1, 1000] {
            let (mut dialer, mut listener) = channels();
            let record = listener.sealer.seal(&vec![0; length]).unwrap();
            assert_eq!(dialer.verify(&record), Err(NetError::Proof));
        }
        let (mut dialer, mut listener) = channels();
        let mut record = listener.prove(&key(2)).unwrap();
        record[40] ^= 1;
        assert_eq!(dialer.verify(&record), Err(NetError::Proof));
    }

    #[test]
    fn records_open_once_in_order_and_unaltered() {
        let (mut dialer, mut listener) = channels();
        let records: Vec<_> = (0..3).map(|at| dialer.sealer.seal(&[at]).unwrap()).collect();
        assert!(listener.opener.open(&records[1]).is_err(), "one was left out");
        assert_eq!(listener.opener.open(&records[0]).unwrap(), [0]);
        assert!(listener.opener.open(&records[0]).is_err(), "one came twice");
        assert!(dialer.opener.open(&records[1]).is_err(), "one came back");
        assert_eq!(listener.opener.open(&records[1]).unwrap(), [1]);
        assert!(listener.opener.open(&[]).is_err());
    }

    #[test]
    fn garbage_is_no_handshake() {
        for garbage in [&b""[..], b"GET / HTTP/1.1", &[0; 31], &[0xff; 5000]] {
            let mut listener = Handshake::new(Role::Listener, &ProcessKey::generate()).unwrap();
            // 32 bytes of anything are a key; what follows then cannot be understood.
            if listener.read(garbage).is_ok() {
                listener.write().unwrap();
                assert!(listener.read(garbage).is_err());
            }
        }
        let mut dialer = Handshake::new(Role::Dialer, &ProcessKey::generate()).unwrap();
        dialer.write().unwrap();
        assert!(dialer.read(&[1; 96]).is_err());
    }
}
