//! A client's connection to the coordinator of a group: one of its own, because joining keeps all that comes after it
//! waiting.

use std::sync::Arc;

use judge::GroupName;
use parking_lot::Mutex;
use wire::ErrorCode;
use wire::messages::FindCoordinatorRequest;

use super::connection::{CallError, Called};
use super::{Cluster, Connection, Life};

/// The coordinator of a group.
#[derive(Debug)]
pub struct Coordinator {
    cluster: Arc<Cluster>,
    group: GroupName,
    connection: Mutex<Option<Arc<Connection>>>,
    finding: tokio::sync::Mutex<()>,
}

impl Coordinator {
    /// Not found yet.
    pub fn new(cluster: Arc<Cluster>, group: GroupName) -> Self {
        Self { cluster, group, connection: Mutex::default(), finding: tokio::sync::Mutex::default() }
    }

    /// Who asks.
    pub fn life(&self) -> &Life {
        &self.cluster.life
    }

    /// What the client knows of the cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// It is to be found again.
    pub fn forget(&self) {
        *self.connection.lock() = None;
    }

    /// A connection to it, however long that takes.
    pub async fn find(&self) -> Arc<Connection> {
        let mut attempts = 0;
        loop {
            match self.find_once().await {
                Ok(connection) => return connection,
                Err(error) => {
                    attempts += 1;
                    if attempts == 1 {
                        self.life().note(format_args!("coordinator of {}: {error}", self.group));
                    }
                    self.cluster.back_off(attempts).await;
                }
            }
        }
    }

    /// A connection to it, if it is found at once.
    ///
    /// # Errors
    /// When it is not.
    pub async fn find_once(&self) -> Called<Arc<Connection>> {
        let _finding = self.finding.lock().await;
        if let Some(connection) = &*self.connection.lock()
            && !connection.is_closed()
        {
            return Ok(connection.clone());
        }
        let any = self.cluster.any().await?;
        let request = FindCoordinatorRequest {
            key: if any.version(wire::ApiKey::FindCoordinator) < Some(4) { (&*self.group).into() } else { "".into() },
            coordinator_keys: if any.version(wire::ApiKey::FindCoordinator) < Some(4) {
                Vec::new()
            } else {
                vec![(&*self.group).into()]
            },
            ..FindCoordinatorRequest::default()
        };
        let answer = any.call(&request).await?;
        let (error, host, port) = match answer.coordinators.first() {
            Some(found) => (found.error_code, found.host.clone(), found.port),
            None => (answer.error_code, answer.host.clone(), answer.port),
        };
        if error != 0 {
            return Err(CallError::NotSent(ErrorCode::from_code(error).name().into()));
        }
        let connection = Arc::new(self.cluster.separate(&format!("{host}:{port}")).await?);
        *self.connection.lock() = Some(connection.clone());
        Ok(connection)
    }
}
