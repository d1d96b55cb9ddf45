"""Geometry that several methods share: pure functions of embeddings.

What is listed here may be used by a method of one's own (docs/extending.md). Files of the package
import from the modules themselves.
"""

from asterism.relations.angles import mean_angle_gap as mean_angle_gap
from asterism.relations.budget import block_elements as block_elements
from asterism.relations.budget import relation_memory as relation_memory
from asterism.relations.directions import unit_rows as unit_rows
from asterism.relations.distances import centred as centred
from asterism.relations.distances import mean_distance_gap as mean_distance_gap
from asterism.relations.distances import pushes as pushes
from asterism.relations.distances import symmetric as symmetric
from asterism.relations.edges import ends_of as ends_of
from asterism.relations.edges import mean_edge_gap as mean_edge_gap
from asterism.relations.inputs import check_choice as check_choice
from asterism.relations.inputs import check_finite as check_finite
from asterism.relations.inputs import check_rows as check_rows
from asterism.relations.inputs import check_target as check_target
from asterism.relations.inputs import check_temperature as check_temperature
from asterism.relations.inputs import check_views as check_views
from asterism.relations.inputs import connected_zero as connected_zero
from asterism.relations.inputs import full_precision as full_precision
from asterism.relations.inputs import project as project
from asterism.relations.inputs import split_views as split_views
from asterism.relations.maps import finite_rows as finite_rows
from asterism.relations.maps import fixed_map as fixed_map
from asterism.relations.neighbours import log_neighbours as log_neighbours
from asterism.relations.neighbours import temperature_for as temperature_for
from asterism.relations.order import mean_order_gap as mean_order_gap
from asterism.relations.predictions import joint_uncertainty as joint_uncertainty
from asterism.relations.predictions import quantile as quantile
from asterism.relations.predictions import reliable_pairs as reliable_pairs
from asterism.relations.predictions import standardised as standardised
from asterism.relations.predictions import vertices_of as vertices_of
from asterism.relations.profiles import profile_cross_entropy as profile_cross_entropy
from asterism.relations.scale import at_unit_scale as at_unit_scale
from asterism.relations.scale import unscaled as unscaled
from asterism.relations.streamed import streamed as streamed

__all__ = [
    "at_unit_scale",
    "block_elements",
    "centred",
    "check_choice",
    "check_finite",
    "check_rows",
    "check_target",
    "check_temperature",
    "check_views",
    "connected_zero",
    "ends_of",
    "finite_rows",
    "fixed_map",
    "full_precision",
    "joint_uncertainty",
    "log_neighbours",
    "mean_angle_gap",
    "mean_distance_gap",
    "mean_edge_gap",
    "mean_order_gap",
    "profile_cross_entropy",
    "project",
    "pushes",
    "quantile",
    "relation_memory",
    "reliable_pairs",
    "split_views",
    "standardised",
    "streamed",
    "symmetric",
    "temperature_for",
    "unit_rows",
    "unscaled",
    "vertices_of",
]
