"""Plants of the Alpine foreland as the landscape knows them: names, family, growth form, indicator values, homes.

One line a species: binomial; vernacular name; family; growth form; light, temperature, moisture,
reaction, nutrients (1-9, Ellenberg-like, rounded to what is commonly given); homes; marks. Homes, the
first the main one: F forest, E forest edge, G intensive meadow, D unimproved grassland, A arable,
W mire and marsh, P alpine grassland, H dwarf shrub heath, R rock and scree, S settlement.
Marks: i invasive, p protected, e endemic of the Alps, 1 or 10 the square (km) its maps are blurred to.
"""

from __future__ import annotations

from typing import Final

SPECIES: Final = """\
Fagus sylvatica;European beech;Fagaceae;tree;3;5;5;6;5;FE;
Abies alba;Silver fir;Pinaceae;tree;3;5;5;5;5;F;
Picea abies;Norway spruce;Pinaceae;tree;5;3;5;4;4;FHE;
Acer pseudoplatanus;Sycamore;Sapindaceae;tree;4;4;6;6;7;FES;
Fraxinus excelsior;European ash;Oleaceae;tree;4;6;6;7;7;FES;
Quercus robur;Pedunculate oak;Fagaceae;tree;6;6;5;5;5;FES;
Carpinus betulus;Hornbeam;Betulaceae;tree;4;6;5;6;5;FE;
Alnus glutinosa;Black alder;Betulaceae;tree;5;5;8;6;6;FWE;
Salix alba;White willow;Salicaceae;tree;5;6;8;8;7;FWS;
Pinus mugo;Mountain pine;Pinaceae;shrub;8;3;5;6;3;HPR;
Larix decidua;European larch;Pinaceae;tree;7;2;4;4;3;FHP;
Sorbus aucuparia;Rowan;Rosaceae;tree;6;4;5;4;4;EFH;
Robinia pseudoacacia;Black locust;Fabaceae;tree;6;7;4;6;8;ESF;i
Corylus avellana;Hazel;Betulaceae;shrub;6;5;5;7;5;EFS;
Crataegus monogyna;Hawthorn;Rosaceae;shrub;7;5;4;8;4;EDS;
Prunus spinosa;Blackthorn;Rosaceae;shrub;7;5;4;7;5;ED;
Sambucus nigra;Elder;Adoxaceae;shrub;7;5;5;6;8;ESF;
Rubus idaeus;Raspberry;Rosaceae;shrub;7;4;5;4;6;EFH;
Lonicera xylosteum;Fly honeysuckle;Caprifoliaceae;shrub;5;6;5;7;6;FE;
Daphne mezereum;Mezereon;Thymelaeaceae;shrub;4;4;5;7;5;F;
Vaccinium myrtillus;Bilberry;Ericaceae;dwarf shrub;5;3;5;2;3;FHE;
Vaccinium vitis-idaea;Lingonberry;Ericaceae;dwarf shrub;5;3;4;2;2;HFW;
Calluna vulgaris;Heather;Ericaceae;dwarf shrub;8;4;5;2;1;HWD;
Rhododendron ferrugineum;Alpenrose;Ericaceae;dwarf shrub;7;3;6;2;2;HFP;
Rhododendron hirsutum;Hairy alpenrose;Ericaceae;dwarf shrub;7;3;4;7;3;HRP;e
Hedera helix;Ivy;Araliaceae;climber;4;6;5;6;6;FES;
Oxalis acetosella;Wood sorrel;Oxalidaceae;herb;2;4;5;4;6;F;
Anemone nemorosa;Wood anemone;Ranunculaceae;herb;4;5;5;6;5;FED;
Galium odoratum;Woodruff;Rubiaceae;herb;2;5;5;6;5;F;
Mercurialis perennis;Dog's mercury;Euphorbiaceae;herb;2;5;5;8;7;F;
Lamium galeobdolon;Yellow archangel;Lamiaceae;herb;3;5;5;7;5;FE;
Allium ursinum;Ramsons;Amaryllidaceae;herb;2;6;6;7;8;F;
Luzula luzuloides;White wood-rush;Juncaceae;graminoid;4;4;5;3;4;FE;
Avenella flexuosa;Wavy hair-grass;Poaceae;graminoid;6;4;5;2;3;FHP;
Dryopteris filix-mas;Male fern;Dryopteridaceae;fern;3;4;5;5;6;F;
Athyrium filix-femina;Lady fern;Athyriaceae;fern;3;4;7;4;6;F;
Polygonatum multiflorum;Solomon's seal;Asparagaceae;herb;2;5;5;6;5;F;
Prenanthes purpurea;Purple lettuce;Asteraceae;herb;4;4;5;5;5;F;
Adenostyles alliariae;Adenostyles;Asteraceae;herb;6;3;6;7;8;FPE;
Homogyne alpina;Alpine coltsfoot;Asteraceae;herb;6;3;6;4;2;FHP;
Cypripedium calceolus;Lady's slipper;Orchidaceae;herb;5;5;4;8;4;FE;p10
Cephalanthera damasonium;White helleborine;Orchidaceae;herb;3;6;4;7;4;F;1
Impatiens glandulifera;Himalayan balsam;Balsaminaceae;herb;5;6;8;7;7;EFW;i
Impatiens parviflora;Small balsam;Balsaminaceae;herb;4;6;5;6;6;FES;i
Urtica dioica;Stinging nettle;Urticaceae;herb;6;5;6;7;9;ESFG;
Geum urbanum;Herb bennet;Rosaceae;herb;4;5;5;6;7;EFS;
Aegopodium podagraria;Ground elder;Apiaceae;herb;5;5;6;7;8;ESF;
Origanum vulgare;Marjoram;Lamiaceae;herb;7;6;3;8;3;DE;
Dactylis glomerata;Cock's-foot;Poaceae;graminoid;7;5;5;6;6;GDESA;
Arrhenatherum elatius;False oat-grass;Poaceae;graminoid;8;5;5;7;7;GDS;
Lolium perenne;Perennial ryegrass;Poaceae;graminoid;8;6;5;7;7;GSA;
Poa pratensis;Smooth meadow-grass;Poaceae;graminoid;6;5;5;6;6;GDSA;
Poa trivialis;Rough meadow-grass;Poaceae;graminoid;6;5;7;6;7;GAS;
Trisetum flavescens;Golden oat-grass;Poaceae;graminoid;7;4;5;6;5;GD;
Festuca rubra;Red fescue;Poaceae;graminoid;7;4;6;6;4;DGPS;
Trifolium repens;White clover;Fabaceae;herb;8;5;5;6;6;GSDP;
Trifolium pratense;Red clover;Fabaceae;herb;7;4;5;6;5;GDP;
Taraxacum officinale;Dandelion;Asteraceae;herb;7;5;5;6;8;GSADE;
Plantago lanceolata;Ribwort plantain;Plantaginaceae;herb;6;5;5;6;4;GDS;
Plantago major;Greater plantain;Plantaginaceae;herb;8;5;5;6;6;SGA;
Ranunculus acris;Meadow buttercup;Ranunculaceae;herb;7;4;6;6;5;GDP;
Rumex acetosa;Common sorrel;Polygonaceae;herb;8;4;6;5;6;GD;
Heracleum sphondylium;Hogweed;Apiaceae;herb;7;5;5;6;8;GED;
Achillea millefolium;Yarrow;Asteraceae;herb;8;5;4;6;5;DGSP;
Leucanthemum vulgare;Oxeye daisy;Asteraceae;herb;7;5;4;6;3;DG;
Salvia pratensis;Meadow clary;Lamiaceae;herb;8;6;3;8;4;D;
Bromus erectus;Upright brome;Poaceae;graminoid;8;6;3;8;3;D;
Brachypodium pinnatum;Tor-grass;Poaceae;graminoid;6;5;4;7;4;DE;
Briza media;Quaking grass;Poaceae;graminoid;8;5;5;6;2;DP;
Lotus corniculatus;Bird's-foot trefoil;Fabaceae;herb;7;5;4;7;3;DPG;
Sanguisorba minor;Salad burnet;Rosaceae;herb;7;6;3;8;2;D;
Anacamptis morio;Green-winged orchid;Orchidaceae;herb;7;6;4;7;3;D;1
Ophrys insectifera;Fly orchid;Orchidaceae;herb;6;5;4;8;3;DF;1
Arnica montana;Arnica;Asteraceae;herb;8;4;5;3;2;PDH;p
Nardus stricta;Mat-grass;Poaceae;graminoid;8;3;5;2;2;PDH;
Alchemilla xanthochlora;Lady's mantle;Rosaceae;herb;7;4;6;6;5;GPD;
Crocus albiflorus;Spring crocus;Iridaceae;herb;8;3;5;6;5;GPD;
Geranium sylvaticum;Wood cranesbill;Geraniaceae;herb;6;4;6;6;7;GPE;
Carex sempervirens;Evergreen sedge;Cyperaceae;graminoid;8;2;4;6;3;PR;
Sesleria caerulea;Blue moor-grass;Poaceae;graminoid;7;3;4;8;3;PRD;
Gentiana acaulis;Trumpet gentian;Gentianaceae;herb;8;2;5;3;2;PD;
Gentiana clusii;Clusius's gentian;Gentianaceae;herb;8;2;4;8;2;PR;e
Soldanella alpina;Alpine snowbell;Primulaceae;herb;7;2;7;7;2;PH;
Dryas octopetala;Mountain avens;Rosaceae;dwarf shrub;9;2;4;8;4;RP;
Leontopodium nivale;Edelweiss;Asteraceae;herb;8;2;4;8;2;RP;p1
Saxifraga oppositifolia;Purple saxifrage;Saxifragaceae;herb;9;1;5;7;2;RP;
Androsace helvetica;Swiss rock-jasmine;Primulaceae;herb;9;1;4;8;1;R;e10
Linaria alpina;Alpine toadflax;Plantaginaceae;herb;8;2;5;7;2;R;
Asplenium ruta-muraria;Wall-rue;Aspleniaceae;fern;8;5;3;8;2;RS;
Caltha palustris;Marsh marigold;Ranunculaceae;herb;7;4;8;6;6;WG;
Filipendula ulmaria;Meadowsweet;Rosaceae;herb;7;5;8;6;5;WED;
Phragmites australis;Common reed;Poaceae;graminoid;7;5;9;7;7;W;
Molinia caerulea;Purple moor-grass;Poaceae;graminoid;7;4;7;5;2;WDH;
Carex davalliana;Davall's sedge;Cyperaceae;graminoid;9;4;8;8;2;W;
Eriophorum vaginatum;Hare's-tail cottongrass;Cyperaceae;graminoid;7;4;9;2;1;W;
Drosera rotundifolia;Round-leaved sundew;Droseraceae;herb;8;4;9;1;1;W;1
Vaccinium oxycoccos;Cranberry;Ericaceae;dwarf shrub;7;4;9;1;1;W;
Liparis loeselii;Fen orchid;Orchidaceae;herb;8;6;9;8;2;W;p10
Cirsium oleraceum;Cabbage thistle;Asteraceae;herb;6;5;7;7;5;GWE;
Deschampsia cespitosa;Tufted hair-grass;Poaceae;graminoid;6;4;7;5;3;PGWF;
Solidago gigantea;Giant goldenrod;Asteraceae;herb;8;6;6;7;7;EWS;i
Reynoutria japonica;Japanese knotweed;Polygonaceae;herb;8;6;7;5;7;ES;i
Heracleum mantegazzianum;Giant hogweed;Apiaceae;herb;7;6;6;7;8;ESG;i
Erigeron annuus;Annual fleabane;Asteraceae;herb;7;6;5;7;8;SAD;i
Capsella bursa-pastoris;Shepherd's purse;Brassicaceae;herb;7;5;5;6;6;AS;
Stellaria media;Chickweed;Caryophyllaceae;herb;6;5;5;7;8;ASG;
Chenopodium album;Fat hen;Amaranthaceae;herb;7;5;4;6;7;AS;
Convolvulus arvensis;Field bindweed;Convolvulaceae;herb;7;6;4;7;6;AS;
Viola arvensis;Field pansy;Violaceae;herb;6;5;4;5;6;A;
Papaver rhoeas;Common poppy;Papaveraceae;herb;6;6;5;7;6;AS;
Centaurea cyanus;Cornflower;Asteraceae;herb;7;6;4;5;5;A;
Legousia speculum-veneris;Venus's looking-glass;Campanulaceae;herb;7;7;4;8;4;A;
Elymus repens;Couch grass;Poaceae;graminoid;7;6;5;6;7;ASG;
Cirsium arvense;Creeping thistle;Asteraceae;herb;8;5;5;6;7;ASEG;
Potentilla erecta;Tormentil;Rosaceae;herb;6;4;6;4;2;DPHW;
Campanula rotundifolia;Harebell;Campanulaceae;herb;7;5;4;5;2;DRPE;
Solidago virgaurea;Goldenrod;Asteraceae;herb;5;4;5;5;4;FHEP;
Veratrum album;White hellebore;Melanthiaceae;herb;7;4;6;7;6;PG;
"""
