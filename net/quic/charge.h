/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QUIC packet protection: what users and network namespaces may have
 */
#ifndef _NET_QUIC_CHARGE_H
#define _NET_QUIC_CHARGE_H

#include <net/net_trackers.h>

#include "net.h"

struct quic_user;

/**
 * struct quic_charge - what a flow counts as in the limits
 * @user: user who has added the flow; NULL if the flow does not count
 * @net: network namespace of the flow
 * @ns_tracker: of the reference to @net
 */
struct quic_charge {
	struct quic_user *user;
	struct net *net;
	netns_tracker ns_tracker;
};

void quic_user_hold(struct quic_user *user);
void quic_user_put(struct quic_user *user);
kuid_t quic_user_uid(const struct quic_user *user);
int quic_user_charge(struct quic_user *user, const struct net *net,
		     enum quic_resource res);
void quic_user_uncharge(struct quic_user *user, const struct net *net,
			enum quic_resource res);

int quic_charge_flow(struct quic_charge *charge, struct net *net);
void quic_charge_removed(const struct quic_charge *charge);
void quic_charge_drop(struct quic_charge *charge);

#endif /* _NET_QUIC_CHARGE_H */
