"""A SegNet of fewer than five stages on each side; it pools and unpools like the whole one."""

from tssbn.networks.segnet import SegNet


def segnet(width, stages):
    net = SegNet(width)
    net.encoder, net.decoder = net.encoder[:stages], net.decoder[:stages]
    return net
