use super::*;

#[test]
fn a_join_is_checked_before_its_group_is_looked_for() {
    let config = GroupConfig::default();
    let join = |group: &str, session_timeout_ms| {
        let request = JoinGroupRequest { group_id: group.into(), session_timeout_ms, ..JoinGroupRequest::default() };
        check_join(&config, &request)
    };
    let (min, max) = (config.session_timeout_ms_min, config.session_timeout_ms_max);
    assert_eq!(join("g", min), Ok(()));
    assert_eq!(join("g", max), Ok(()));
    assert_eq!(join("g", min - 1), Err(ErrorCode::InvalidSessionTimeout));
    assert_eq!(join("g", max + 1), Err(ErrorCode::InvalidSessionTimeout));
    assert_eq!(join("", min), Err(ErrorCode::InvalidGroupId));
}

/// Kafka's clients look for the coordinator again after the first, and only wait after the others.
#[test]
fn clients_are_told_what_to_do_about_a_shard_that_cannot_serve() {
    assert_eq!(ErrorCode::from(ShardError::NotCoordinator), ErrorCode::NotCoordinator);
    assert_eq!(ErrorCode::from(ShardError::Loading), ErrorCode::CoordinatorLoadInProgress);
    assert_eq!(ErrorCode::from(ShardError::Overloaded), ErrorCode::CoordinatorLoadInProgress);
}
