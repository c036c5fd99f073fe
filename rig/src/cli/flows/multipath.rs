//! What Multipath TCP adds to the JSON object of a flow.

use schemars::JsonSchema;
use serde::Serialize;

use super::record::is_default;
use crate::analysis::{DataFin, Fallback, Joined, Multipath, MultipathFate, Role, Sender};

/// The fields of a flow that has to do with Multipath TCP, apart from the others since most have not.
#[derive(Serialize, JsonSchema)]
pub(super) struct MptcpLog {
    /// Whether it is the first subflow of a connection of Multipath TCP, or joined one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mptcp_subflow: Option<Role>,
    /// The connection's name, the same for all its subflows: the token of the side that did not open it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mptcp_token: Option<String>,
    /// Version of Multipath TCP, 0 or 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mptcp_version: Option<u8>,
    /// Why it is plain TCP although Multipath TCP was offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mptcp_fallback: Option<Fallback>,
    /// What became of a subflow that joins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mptcp_join: Option<Joined>,
    /// Subflows of its connection that were seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mptcp_subflows: Option<u32>,
    /// How its connection ended, by `DATA_FIN` and `MP_FASTCLOSE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mptcp_state: Option<MultipathFate>,
    /// Who sent the connection's first `DATA_FIN` or `MP_FASTCLOSE`, by the sides of this flow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mptcp_closed_by: Option<Sender>,
    /// Who aborted the connection by `MP_FASTCLOSE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mptcp_fastclosed_by: Option<Sender>,
    /// Who gave a reason for the RST of this subflow (`MP_TCPRST`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mptcp_reset_by: Option<Sender>,
    /// The reason, by the table of RFC 8684.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mptcp_reset_reason: Option<u8>,
    /// Key of the initiator, in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) orig_mptcp_key: Option<String>,
    /// Number that the initiator has for its address, where the subflow joins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) orig_mptcp_address_id: Option<u8>,
    /// Captured payload of the initiator on all subflows of the connection, each data number once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) orig_mptcp_bytes: Option<u64>,
    /// How much of it the peer acknowledged by `DATA_ACK`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) orig_mptcp_acked_bytes: Option<u64>,
    /// Payload of the initiator on this subflow whose data numbers had been sent before.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) orig_mptcp_reinjected_bytes: u64,
    /// Whether the initiator has sent a `DATA_FIN`, and whether that was acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) orig_mptcp_data_fin: Option<DataFin>,
    /// Key of the responder, in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resp_mptcp_key: Option<String>,
    /// Number that the responder has for its address, where the subflow joins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resp_mptcp_address_id: Option<u8>,
    /// Captured payload of the responder on all subflows of the connection, each data number once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resp_mptcp_bytes: Option<u64>,
    /// How much of it the peer acknowledged by `DATA_ACK`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resp_mptcp_acked_bytes: Option<u64>,
    /// Payload of the responder on this subflow whose data numbers had been sent before.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) resp_mptcp_reinjected_bytes: u64,
    /// Whether the responder has sent a `DATA_FIN`, and whether that was acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resp_mptcp_data_fin: Option<DataFin>,
}

impl MptcpLog {
    pub(super) fn of(told: &Multipath) -> Self {
        let connection = told.connection;
        Self {
            mptcp_subflow: told.role,
            mptcp_token: told.token.map(|token| token.to_string()),
            mptcp_version: told.version,
            mptcp_fallback: told.fallback,
            mptcp_join: told.joined,
            mptcp_subflows: connection.map(|c| c.subflows),
            mptcp_state: connection.map(|c| c.fate),
            mptcp_closed_by: connection.and_then(|c| c.closed_by),
            mptcp_fastclosed_by: connection.and_then(|c| c.fastclosed_by),
            mptcp_reset_by: told.reset_reason.map(|(by, _)| by),
            mptcp_reset_reason: told.reset_reason.map(|(_, reason)| reason.0),
            orig_mptcp_key: told.keys[0].map(|key| key.to_string()),
            orig_mptcp_address_id: told.address_ids[0],
            orig_mptcp_bytes: connection.map(|c| c.sides[0].bytes),
            orig_mptcp_acked_bytes: connection.map(|c| c.sides[0].acked_bytes),
            orig_mptcp_reinjected_bytes: told.reinjected_bytes[0],
            orig_mptcp_data_fin: connection.and_then(|c| c.sides[0].fin),
            resp_mptcp_key: told.keys[1].map(|key| key.to_string()),
            resp_mptcp_address_id: told.address_ids[1],
            resp_mptcp_bytes: connection.map(|c| c.sides[1].bytes),
            resp_mptcp_acked_bytes: connection.map(|c| c.sides[1].acked_bytes),
            resp_mptcp_reinjected_bytes: told.reinjected_bytes[1],
            resp_mptcp_data_fin: connection.and_then(|c| c.sides[1].fin),
        }
    }
}
