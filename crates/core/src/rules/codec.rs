//! The bytes of rule operators, as docs/rules.md lists them, and the limits that hold on both ways.
//!
//! An operator is a list that begins with its code. It does not judge what an operator may do.

use super::{Level, Permission, RuleOperator, Shown, Strength, Subject};
use crate::cbor::{self, CborError, Kind, Reader, Writer};
use crate::id::{AuthorId, CommitId, SpaceId};
use crate::limits::{MAX_KEEP, MAX_PROOF, MAX_RULE_OPERATORS, MAX_SPACE_NAME, MAX_VALUE_DEPTH};
use crate::sign::Signature;

const GRANT: u64 = 0;
const NAME: u64 = 1;
const SETTING: u64 = 2;
const INVITE: u64 = 3;
const REDEEM: u64 = 4;
const END_INVITE: u64 = 5;
const ENROL: u64 = 6;
const WITHDRAW: u64 = 7;

// The one kind of subject that is a list.
const SPACE: u64 = 0;

/// Encodes the payload of a rule body: the list of its operators. They should have passed `check`.
pub fn encode(operators: &[RuleOperator], writer: &mut Writer) {
    writer.array(operators.len() as u64);
    for operator in operators {
        operator.encode(writer);
    }
}

/// Decodes the payload of a rule body, which as part of the body has passed `cbor::check`.
pub fn decode(reader: &mut Reader<'_>) -> Result<Vec<RuleOperator>, CborError> {
    let count = reader.array()?;
    if count > MAX_RULE_OPERATORS as u64 {
        return Err(CborError::Limit("operators in a rule commit"));
    }
    (0..count).map(|_| RuleOperator::decode(reader)).collect()
}

/// Checks the limits and the order of keeps. Decoding does it too; this is for operators made here.
pub fn check(operators: &[RuleOperator]) -> Result<(), CborError> {
    if operators.len() > MAX_RULE_OPERATORS {
        return Err(CborError::Limit("operators in a rule commit"));
    }
    operators.iter().try_for_each(RuleOperator::check)
}

impl RuleOperator {
    /// Appends this operator.
    pub fn encode(&self, writer: &mut Writer) {
        match self {
            Self::Grant { subject, permission, keep } => {
                writer.array(3 + u64::from(keep.is_some())).u64(GRANT);
                match subject {
                    Subject::Key(author) => writer.bytes(author.as_bytes()),
                    Subject::Anyone => writer.null(),
                    Subject::Space(space) => writer.array(2).u64(SPACE).bytes(space.as_bytes()),
                };
                match permission {
                    Some(permission) => encode_permission(*permission, writer),
                    None => {
                        writer.null();
                    }
                }
                if let Some(keep) = keep {
                    encode_keep(keep, writer);
                }
            }
            Self::Name(name) => {
                writer.array(2).u64(NAME).str(name);
            }
            Self::Setting { key, value } => {
                writer.array(3).u64(SETTING).str(key).raw(value);
            }
            Self::Invite { key, permission, uses, expires_ms } => {
                writer.array(5).u64(INVITE).bytes(key);
                encode_permission(*permission, writer);
                encode_number(uses.map(u64::from), writer);
                encode_number(*expires_ms, writer);
            }
            Self::Redeem { invite, index, proof } => {
                writer.array(4).u64(REDEEM).bytes(invite.as_bytes()).u64(u64::from(*index)).bytes(&proof.0);
            }
            Self::EndInvite { invite, index, keep } => {
                writer.array(4).u64(END_INVITE).bytes(invite.as_bytes()).u64(u64::from(*index));
                encode_keep(keep, writer);
            }
            Self::Enrol { grant, index, proof } => {
                writer.array(4).u64(ENROL).bytes(grant.as_bytes()).u64(u64::from(*index));
                encode_proof(proof, writer);
            }
            Self::Withdraw { space, key, proof, keep } => {
                writer.array(5).u64(WITHDRAW).bytes(space.as_bytes()).bytes(key.as_bytes());
                encode_proof(proof, writer);
                encode_keep(keep, writer);
            }
            Self::Unknown { raw } => {
                writer.raw(raw);
            }
        }
    }

    /// Takes the next operator of bytes that have passed `cbor::check`.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let raw = reader.raw()?;
        let mut inner = Reader::new(raw);
        let length = inner.array()?;
        if length == 0 {
            return Err(CborError::Unexpected);
        }
        let operator = match (inner.u64()?, length) {
            (GRANT, 3 | 4) => {
                let subject = match inner.kind()? {
                    Kind::Bytes => Subject::Key(AuthorId(inner.array_bytes()?)),
                    Kind::Null => {
                        inner.take_null()?;
                        Subject::Anyone
                    }
                    // Another kind of subject: whoever knows the shape judges it, we only keep it.
                    _ => match space_subject(inner.raw()?) {
                        Some(space) => Subject::Space(space),
                        None => return Ok(Self::Unknown { raw: raw.to_vec() }),
                    },
                };
                let permission = if inner.take_null()? { None } else { Some(decode_permission(&mut inner)?) };
                let keep = if length == 4 { Some(decode_keep(&mut inner)?) } else { None };
                Self::Grant { subject, permission, keep }
            }
            (NAME, 2) => Self::Name(inner.str()?.to_owned()),
            (SETTING, 3) => Self::Setting { key: inner.str()?.to_owned(), value: inner.raw()?.to_vec() },
            (INVITE, 5) => Self::Invite {
                key: inner.array_bytes()?,
                permission: decode_permission(&mut inner)?,
                uses: decode_number(&mut inner)?.map(small).transpose()?,
                expires_ms: decode_number(&mut inner)?,
            },
            (REDEEM, 4) => Self::Redeem {
                invite: CommitId(inner.array_bytes()?),
                index: small(inner.u64()?)?,
                proof: Signature(inner.array_bytes()?),
            },
            (END_INVITE, 4) => Self::EndInvite {
                invite: CommitId(inner.array_bytes()?),
                index: small(inner.u64()?)?,
                keep: decode_keep(&mut inner)?,
            },
            (ENROL, 4) => Self::Enrol {
                grant: CommitId(inner.array_bytes()?),
                index: small(inner.u64()?)?,
                proof: decode_proof(&mut inner)?,
            },
            (WITHDRAW, 5) => Self::Withdraw {
                space: SpaceId(inner.array_bytes()?),
                key: AuthorId(inner.array_bytes()?),
                proof: decode_proof(&mut inner)?,
                keep: decode_keep(&mut inner)?,
            },
            (GRANT..=WITHDRAW, _) => return Err(CborError::Unexpected),
            _ => Self::Unknown { raw: raw.to_vec() },
        };
        operator.check()?;
        Ok(operator)
    }

    fn check(&self) -> Result<(), CborError> {
        match self {
            Self::Grant { keep: Some(keep), .. } | Self::EndInvite { keep, .. } => check_keep(keep),
            Self::Enrol { proof, .. } => check_proof(proof),
            Self::Withdraw { proof, keep, .. } => check_proof(proof).and_then(|()| check_keep(keep)),
            Self::Name(name) if name.len() > MAX_SPACE_NAME => Err(CborError::Limit("the name of a space")),
            Self::Setting { key, .. } if key.len() > MAX_SPACE_NAME => {
                Err(CborError::Limit("the name of a setting"))
            }
            Self::Setting { value, .. } => cbor::check(value, MAX_VALUE_DEPTH),
            _ => Ok(()),
        }
    }
}

fn check_keep(keep: &[CommitId]) -> Result<(), CborError> {
    if keep.len() > MAX_KEEP {
        return Err(CborError::Limit("commits in a keep"));
    }
    if keep.is_sorted_by(|a, b| a < b) { Ok(()) } else { Err(CborError::NotCanonical) }
}

fn check_proof(proof: &[Shown]) -> Result<(), CborError> {
    let mut writer = Writer::default();
    encode_proof(proof, &mut writer);
    if writer.finish().len() > MAX_PROOF { Err(CborError::Limit("bytes of a proof")) } else { Ok(()) }
}

// `[0, space]`; every other list is a kind of subject that this version does not know.
fn space_subject(raw: &[u8]) -> Option<SpaceId> {
    let mut inner = Reader::new(raw);
    let is_space = inner.array().ok()? == 2 && inner.u64().ok()? == SPACE;
    is_space.then(|| inner.array_bytes().ok().map(SpaceId))?
}

/// Appends the commits of another space that a proof shows.
pub fn encode_proof(proof: &[Shown], writer: &mut Writer) {
    writer.array(proof.len() as u64);
    for shown in proof {
        writer.array(3).bytes(&shown.header);
        writer.bytes_or_null(shown.signature.as_ref().map(|signature| &signature.0[..]));
        writer.bytes_or_null(shown.body.as_deref());
    }
}

/// Takes a proof of bytes that have passed `cbor::check`. What it shows is not verified.
pub fn decode_proof(reader: &mut Reader<'_>) -> Result<Vec<Shown>, CborError> {
    let raw = reader.raw()?;
    if raw.len() > MAX_PROOF {
        return Err(CborError::Limit("bytes of a proof"));
    }
    let mut inner = Reader::new(raw);
    let count = inner.array()?;
    let shown = |_| {
        if inner.array()? != 3 {
            return Err(CborError::Unexpected);
        }
        let header = inner.bytes()?.to_vec();
        let signature = if inner.take_null()? { None } else { Some(Signature(inner.array_bytes()?)) };
        let body = if inner.take_null()? { None } else { Some(inner.bytes()?.to_vec()) };
        Ok(Shown { header, signature, body })
    };
    (0..count).map(shown).collect()
}

/// Appends a permission: `[0]`, `[1, strength]` or `[2, strength]`.
pub fn encode_permission(permission: Permission, writer: &mut Writer) {
    match permission {
        Permission::Read => {
            writer.array(1);
            writer.u64(0);
        }
        Permission::Write(strength) | Permission::Admin(strength) => {
            writer.array(2);
            writer.u64(if permission.level() == Level::Admin { 2 } else { 1 });
            writer.u64(u64::from(strength.0));
        }
    }
}

/// Takes a permission.
pub fn decode_permission(reader: &mut Reader<'_>) -> Result<Permission, CborError> {
    let length = reader.array()?;
    match (reader.u64()?, length) {
        (0, 1) => Ok(Permission::Read),
        (1, 2) => Ok(Permission::Write(Strength(small(reader.u64()?)?))),
        (2, 2) => Ok(Permission::Admin(Strength(small(reader.u64()?)?))),
        _ => Err(CborError::Unexpected),
    }
}

fn encode_keep(keep: &[CommitId], writer: &mut Writer) {
    writer.array(keep.len() as u64);
    for id in keep {
        writer.bytes(id.as_bytes());
    }
}

fn decode_keep(reader: &mut Reader<'_>) -> Result<Vec<CommitId>, CborError> {
    let count = reader.array()?;
    if count > MAX_KEEP as u64 {
        return Err(CborError::Limit("commits in a keep"));
    }
    (0..count).map(|_| reader.array_bytes().map(CommitId)).collect()
}

fn encode_number(number: Option<u64>, writer: &mut Writer) {
    match number {
        Some(number) => writer.u64(number),
        None => writer.null(),
    };
}

fn decode_number(reader: &mut Reader<'_>) -> Result<Option<u64>, CborError> {
    if reader.take_null()? { Ok(None) } else { reader.u64().map(Some) }
}

fn small(number: u64) -> Result<u32, CborError> {
    u32::try_from(number).map_err(|_| CborError::Unexpected)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(operators: &[RuleOperator]) -> Vec<u8> {
        let mut writer = Writer::default();
        encode(operators, &mut writer);
        writer.finish()
    }

    fn every_operator() -> Vec<RuleOperator> {
        let keep = vec![CommitId([1; 32]), CommitId([2; 32])];
        let proof = vec![
            Shown { header: vec![1, 2], signature: None, body: Some(vec![3]) },
            Shown { header: vec![4], signature: Some(Signature([5; 64])), body: None },
        ];
        vec![
            RuleOperator::Grant {
                subject: Subject::Key(AuthorId([3; 32])),
                permission: Some(Permission::Admin(Strength(7))),
                keep: None,
            },
            RuleOperator::Grant { subject: Subject::Anyone, permission: None, keep: Some(keep.clone()) },
            RuleOperator::Name("winter".into()),
            RuleOperator::Setting { key: "policy".into(), value: vec![0x82, 1, 2] },
            RuleOperator::Invite {
                key: [4; 32],
                permission: Permission::Write(Strength(u32::MAX)),
                uses: Some(3),
                expires_ms: None,
            },
            RuleOperator::Invite {
                key: [4; 32],
                permission: Permission::Read,
                uses: None,
                expires_ms: Some(9),
            },
            RuleOperator::Redeem { invite: CommitId([5; 32]), index: 2, proof: Signature([6; 64]) },
            RuleOperator::EndInvite { invite: CommitId([5; 32]), index: 0, keep },
            RuleOperator::Grant {
                subject: Subject::Space(SpaceId([7; 32])),
                permission: Some(Permission::Read),
                keep: None,
            },
            RuleOperator::Enrol { grant: CommitId([5; 32]), index: 1, proof: proof.clone() },
            RuleOperator::Withdraw {
                space: SpaceId([7; 32]),
                key: AuthorId([8; 32]),
                proof,
                keep: vec![CommitId([9; 32])],
            },
            RuleOperator::Unknown { raw: vec![0x82, 0x18, 99, 0x61, b'x'] },
        ]
    }

    #[test]
    fn every_operator_survives_the_way_there_and_back() {
        let operators = every_operator();
        let bytes = bytes(&operators);
        assert_eq!(cbor::check(&bytes, 8), Ok(()));
        assert_eq!(decode(&mut Reader::new(&bytes)), Ok(operators));
    }

    #[test]
    fn every_prefix_and_every_changed_byte_is_an_error_or_another_value_never_a_panic() {
        let operators = every_operator();
        let bytes = bytes(&operators);
        for end in 0..bytes.len() {
            assert!(decode(&mut Reader::new(&bytes[..end])).is_err());
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                if cbor::check(&changed, 64).is_ok() {
                    assert_ne!(decode(&mut Reader::new(&changed)), Ok(operators.clone()));
                }
            }
        }
    }

    #[test]
    fn the_example_of_the_documentation_holds() {
        let operator = RuleOperator::Grant {
            subject: Subject::Anyone,
            permission: Some(Permission::Write(Strength(9))),
            keep: None,
        };
        assert_eq!(bytes(&[operator]), [0x81, 0x83, 0x00, 0xf6, 0x82, 0x01, 0x09]);
    }

    #[test]
    fn an_unknown_kind_of_subject_is_kept_and_has_no_effect() {
        // [[0, [h'', 3], null]]: a grant to something that is a list.
        let bytes = [0x81, 0x83, 0x00, 0x82, 0x40, 0x03, 0xf6];
        assert_eq!(
            decode(&mut Reader::new(&bytes)),
            Ok(vec![RuleOperator::Unknown { raw: bytes[1..].to_vec() }])
        );
    }

    #[test]
    fn a_keep_is_sorted_unique_and_bounded() {
        let grant =
            |keep| [RuleOperator::Grant { subject: Subject::Anyone, permission: None, keep: Some(keep) }];
        let (one, two) = (CommitId([1; 32]), CommitId([2; 32]));
        assert_eq!(check(&grant(vec![one, two])), Ok(()));
        assert_eq!(check(&grant(vec![two, one])), Err(CborError::NotCanonical));
        assert_eq!(check(&grant(vec![one, one])), Err(CborError::NotCanonical));
        let unsorted = bytes(&grant(vec![two, one]));
        assert_eq!(decode(&mut Reader::new(&unsorted)), Err(CborError::NotCanonical));
        let many = (0..=MAX_KEEP as u16).map(|n| {
            let mut id = [0; 32];
            id[..2].copy_from_slice(&n.to_be_bytes());
            CommitId(id)
        });
        assert_eq!(check(&grant(many.collect())), Err(CborError::Limit("commits in a keep")));
        let crowd = vec![RuleOperator::Name(String::new()); MAX_RULE_OPERATORS + 1];
        assert!(check(&crowd).is_err() && decode(&mut Reader::new(&bytes(&crowd))).is_err());
    }
}
